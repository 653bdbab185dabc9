"""People at the real door: sessions, pages of other sites, what a member may not make of a key or of themselves, and what
another organisation has."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import pytest

import harness
import remains

pytestmark = pytest.mark.gateway

PASSWORDS = {name: f"long canary of {name}" for name in ("ada", "kim", "mel", "new")}
for password in PASSWORDS.values():
    remains.canary("a password", password)


@dataclass
class Browser:
    """Keeps the cookie, and knows what to send along with a change."""

    http: object
    cookie: str
    token: str = field(repr=False)

    @classmethod
    def of(cls, http, answer):
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"].split(";")[0]
        http.cookies.clear()
        return cls(http, cookie, answer.json()["csrf_token"])

    def bare(self, method, path, headers=None, **options):
        """As any page can have the browser ask: with the cookie, and without what only our own page knows."""
        answer = self.http.request(method, f"/admin/v1{path}", headers={"cookie": self.cookie} | (headers or {}), **options)
        self.http.cookies.clear()
        return answer

    def ask(self, method, path, body=None, headers=None):
        json_body = {} if body is None else {"json": body}
        return self.bare(method, path, headers={"x-csrf-token": self.token} | (headers or {}), **json_body)

    def is_over(self):
        answer = self.bare("GET", "/auth/session")
        return answer.status_code == 401 and answer.json()["code"] == "session_over"


def comes_by_link(served, http, who, **more):
    link = served.admin("POST", "/auth/links", json=more.pop("link", {}))
    body = {"token": link["token"], "password": PASSWORDS[who]} | more
    return body, http.post("/admin/v1/auth/links/use", json=body)


def signs_in(http, email, password, **headers):
    return http.post("/admin/v1/auth/sign-in", json={"email": email, "password": password}, headers=headers)


@dataclass
class House:
    """A gateway with an owner, two organisations and somebody who is a member of one of them."""

    served: harness.Served
    http: object
    owner: Browser
    member_id: str
    theirs: dict

    def member(self):
        return Browser.of(self.http, signs_in(self.http, "mel@near.example", PASSWORDS["mel"]))

    def admin(self):
        return Browser.of(self.http, signs_in(self.http, "kim@near.example", PASSWORDS["kim"]))

    def keys(self):
        """Which there are, and how often each was changed."""
        return {key["id"]: key["version"] for key in self.served.admin("GET", "/keys?limit=200")["data"]}

    def last_entry(self):
        return self.served.admin("GET", "/audit?limit=1")["data"][0]["seq"]


STRICT = {"max_expiry_days": 90, "max_spend_usd": "5", "scopes": ["models:read", "completions:write"], "no_browser": True}


@pytest.fixture(scope="module")
def house():
    with harness.scratch() as folder:
        served = harness.Served.start(harness.Path(folder))
        try:
            with served.client() as http:
                yield furnished(served, http)
        finally:
            status = served.stop()
        assert status == 0, served.process.output()[-4000:]


def furnished(served, http):
    body, came = comes_by_link(served, http, "ada", email="ada@example.com", name="Ada")
    owner = Browser.of(http, came)
    assert http.post("/admin/v1/auth/links/use", json=body).status_code == 410, "a link works once"
    for slug in ("near", "far"):
        rules = {"key_rules": STRICT} if slug == "near" else {}
        served.admin("POST", "/organisations", json={"name": slug} | rules)
        served.admin("POST", "/projects", json={"organisation": slug, "name": "Work"})
    for who, role in (("kim", "admin"), ("mel", "member")):
        email = f"{who}@near.example"
        member = served.admin("POST", "/members", json={"organisation": "near", "email": email, "name": who, "role": role})
        Browser.of(http, comes_by_link(served, http, who, link={"email": email})[1])
    far = served.admin("POST", "/members", json={"organisation": "far", "email": "fay@far.example", "name": "Fay"})
    made = {
        "organisations": served.admin("GET", "/organisations/far"),
        "projects": served.admin("GET", "/projects?organisation=far")["data"][0],
        "members": far,
        "service-accounts": served.admin("POST", "/service-accounts", json={"project": "far/work", "name": "robot"}),
        "keys": served.new_key("far", project="far/work", owner_id=far["id"]),
    }
    return House(served, http, owner, member["id"], {path: thing["id"] for path, thing in made.items()})


def unsigned(answer):
    """An answer without what is of one request alone."""
    return {name: value for name, value in answer.json().items() if name != "request_id"}


@pytest.mark.parametrize("who", ["admin", "member"])
@pytest.mark.parametrize("path", ["organisations", "projects", "members", "service-accounts", "keys"])
def test_what_another_organisation_has_answers_like_what_is_not_there(house, path, who):
    """E12: but for what somebody of that role may do nowhere, which is refused for what is there and what is not alike."""
    person, theirs = getattr(house, who)(), house.theirs[path]
    missing = theirs[:-4] + ("0000" if theirs[-4:] != "0000" else "1111")
    before = house.served.admin("GET", f"/{path}/{theirs}")
    for method, tail, body in [
        ("GET", "", None),
        ("PATCH", "", {"name": "mine now"} if path != "members" else {"role": "admin"}),
        ("POST", "/disable", None),
        ("DELETE", "", None),
    ]:
        there = person.ask(method, f"/{path}/{theirs}{tail}", body)
        nowhere = person.ask(method, f"/{path}/{missing}{tail}", body)
        assert there.status_code in (403, 404) and there.status_code == nowhere.status_code, f"{method} {tail}: {there.text}"
        if path == "keys" or (who, method) == ("admin", "GET"):
            assert there.status_code == 404, f"{method} {tail}: {there.text}"
        assert json.dumps(unsigned(there)).replace(theirs, "?") == json.dumps(unsigned(nowhere)).replace(missing, "?")
    assert house.served.admin("GET", f"/{path}/{theirs}") == before


WIDER = {
    "money": {"spend_limits": [{"window": "total", "usd": "5.01"}]},
    "no money named": {"spend_limits": []},
    "a longer life": {"expires_in": "91d"},
    "scopes": {"scopes": ["models:read", "usage:read"]},
    "pages": {"browser_allowed": True},
    "a key that manages": {"kind": "admin"},
    "another's": {"project": "far/work"},
    "an id of its own": {"id": "key_00000000000000000000000000"},
    "nothing spent yet": {"spent_usd": "-5"},
    "a version": {"version": 99},
    "another organisation": {"organisation_id": "org_00000000000000000000000000"},
    "another creator": {"creator": "ada"},
    "a role": {"role": "admin"},
}
FITS = {
    "name": "mine",
    "project": "near/work",
    "expires_in": "30d",
    "scopes": ["models:read"],
    "spend_limits": [{"window": "total", "usd": "5"}],
}


@pytest.mark.parametrize("what", WIDER)
def test_a_member_makes_no_key_that_is_wider_than_what_bounds_it(house, what):
    """E13: neither when it is made nor by a change afterwards."""
    member = house.member()
    before = house.keys()
    refused = member.ask("POST", "/keys", FITS | WIDER[what])
    assert refused.status_code in (400, 403, 404), refused.text
    assert house.keys() == before
    made = member.ask("POST", "/keys", FITS)
    assert made.status_code == 201, made.text
    path = f"/keys/{made.json()['id']}"
    stored = house.served.admin("GET", path)
    refused = member.ask("PATCH", path, WIDER[what])
    if what == "a version":
        assert refused.status_code == 412, refused.text
    else:
        assert refused.status_code in (400, 403, 404), refused.text
    assert house.served.admin("GET", path) == stored


def test_a_member_gives_no_key_away(house):
    """E13: a key that names no owner is whoever makes it."""
    member = house.member()
    made = member.ask("POST", "/keys", FITS | {"owner_id": None}).json()
    assert made["owner_id"] == house.member_id
    for other in (None, house.theirs["members"]):
        refused = member.ask("PATCH", f"/keys/{made['id']}", {"owner_id": other})
        assert refused.status_code in (400, 403), refused.text
    assert house.served.admin("GET", f"/keys/{made['id']}")["owner_id"] == house.member_id


def test_nobody_gives_themselves_a_role(house):
    """E13."""
    member = house.member()
    me = f"/members/{house.member_id}"
    before = house.served.admin("GET", me)
    for method, path, body in [
        ("PATCH", me, {"role": "admin"}),
        ("PATCH", me, {"controls": {}}),
        ("POST", "/members", {"organisation": "near", "email": "mel@near.example", "role": "admin"}),
        ("PATCH", f"/people/{before['person_id']}", {"operator": True}),
        ("PATCH", "/organisations/near", {"key_rules": {}}),
        ("POST", "/auth/links", {"email": "ada@example.com"}),
    ]:
        refused = member.ask(method, path, body)
        assert refused.status_code in (403, 404), f"{method} {path}: {refused.text}"
    assert house.served.admin("GET", me) == before


FORGED = {
    "no token": {},
    "a made-up token": {"x-csrf-token": "0" * 64},
    "another site": {"origin": "https://evil.example", "x-csrf-token": "{own}"},
    "no site": {"origin": "null", "x-csrf-token": "{own}"},
    "a site that begins like ours": {"origin": "{ours}.evil.example", "x-csrf-token": "{own}"},
    "what the browser says": {"sec-fetch-site": "cross-site", "x-csrf-token": "{own}"},
    "a neighbour": {"sec-fetch-site": "same-site", "x-csrf-token": "{own}"},
}
SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; a=application/json"]


@pytest.mark.parametrize("how", FORGED)
def test_a_page_of_another_site_changes_nothing(house, how):
    """G3."""
    fill = {"{own}": house.owner.token, "{ours}": house.served.url}
    headers = dict(FORGED[how])
    for name, value in headers.items():
        for mark, text in fill.items():
            value = value.replace(mark, text)
        headers[name] = value
    keys, entry = house.keys(), house.last_entry()
    for method, path, body in [
        ("POST", "/keys", {"name": "theirs"}),
        ("PATCH", "/organisations/far", {"name": "theirs"}),
        ("DELETE", f"/keys/{house.theirs['keys']}", None),
        ("POST", "/auth/sign-out", {}),
    ]:
        refused = house.owner.bare(method, path, headers, **({"json": body} if body is not None else {}))
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_site_request"), f"{method} {path}"
    assert (house.keys(), house.last_entry()) == (keys, entry)
    assert not house.owner.is_over()


@pytest.mark.parametrize("content_type", SIMPLE)
def test_what_a_form_can_send_is_not_taken_for_json(house, content_type):
    """G3."""
    entry = house.last_entry()
    headers = {"content-type": content_type, "x-csrf-token": house.owner.token}
    refused = house.owner.bare("POST", "/keys", headers, content=b'{"name":"theirs"}')
    assert refused.status_code == 415, refused.text
    body = json.dumps({"email": "ada@example.com", "password": PASSWORDS["ada"]})
    assert house.http.post("/admin/v1/auth/sign-in", content=body, headers={"content-type": content_type}).status_code == 415
    assert house.last_entry() == entry


def test_a_session_ends_on_the_server(house):
    """G4: what was planted is not taken over, and what was signed out or disabled is dead wherever the cookie still is."""
    first = house.member()
    planted = signs_in(house.http, "mel@near.example", PASSWORDS["mel"], cookie=first.cookie)
    second, third = Browser.of(house.http, planted), house.member()
    assert len({first.cookie, second.cookie, third.cookie}) == 3
    assert first.ask("POST", "/auth/sign-out").status_code == 204
    assert first.is_over() and not second.is_over()
    change = {"current_password": PASSWORDS["mel"], "new_password": PASSWORDS["new"]}
    assert second.ask("POST", "/auth/password", change).status_code == 204
    assert third.is_over() and not second.is_over()
    back = {"current_password": PASSWORDS["new"], "new_password": PASSWORDS["mel"]}
    assert second.ask("POST", "/auth/password", back).status_code == 204

    # With another role somebody signs in again, whether it is less or more.
    me = f"/members/{house.member_id}"
    for role, status in (("viewer", 403), ("member", 201)):
        house.served.admin("PATCH", me, json={"controls": None})
        assert not second.is_over()
        house.served.admin("PATCH", me, json={"role": role})
        refused = second.ask("POST", "/keys", FITS)
        assert (refused.status_code, refused.json()["code"]) == (401, "session_over")
        second = house.member()
        assert second.ask("POST", "/keys", FITS).status_code == status

    person = house.served.admin("GET", me)["person_id"]
    house.served.admin("PATCH", f"/people/{person}", json={"disabled": True})
    assert second.bare("GET", "/keys").status_code == 401
    assert signs_in(house.http, "mel@near.example", PASSWORDS["mel"]).status_code == 401
    house.served.admin("PATCH", f"/people/{person}", json={"disabled": False})
    assert not house.member().is_over()


def test_behind_https_the_cookie_is_for_this_host_alone(tmp_path):
    """G4."""
    (tmp_path / "anykey.toml").write_text('public_url = "https://gw.example.com"\n')
    served = harness.Served.start(tmp_path)
    try:
        with served.client() as http:
            came = comes_by_link(served, http, "ada", email="ada@example.com", name="Ada")[1]
            parts = {part.strip() for part in came.headers["set-cookie"].split(";")}
            assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= parts and not any(p.startswith("Domain") for p in parts)
            assert came.headers["set-cookie"].startswith("__Host-anykey=")
            owner = Browser.of(http, came)
            assert not owner.is_over()
            # The same value under a name that a page without TLS could have set is nobody's.
            plain = Browser(http, owner.cookie.removeprefix("__Host-"), owner.token)
            assert plain.bare("GET", "/auth/session").status_code == 401
    finally:
        assert served.stop() == 0


def test_many_who_change_one_limit_do_not_overwrite_each_other(house):
    """G9."""
    key = house.served.new_key("contested", spend_limits=[{"window": "total", "usd": "1"}])
    start = Barrier(16)

    def change(n):
        with house.served.client(headers={"authorization": f"Bearer {house.served.admin_key}"}) as http:
            start.wait()
            body = {"spend_limits": [{"window": "total", "usd": f"{n + 2}"}]}
            return http.patch(f"/admin/v1/keys/{key['id']}", json=body, headers={"if-match": f'"{key["version"]}"'})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(change, range(16)))
    won = [answer.json() for answer in answers if answer.status_code == 200]
    assert len(won) == 1, [answer.status_code for answer in answers]
    assert all(answer.json()["code"] == "version_mismatch" for answer in answers if answer.status_code == 412)
    assert sorted({answer.status_code for answer in answers}) == [200, 412]
    assert house.served.admin("GET", f"/keys/{key['id']}")["spend_limits"] == won[0]["spend_limits"]


AMOUNTS = ["-1", "-0", "1e400", "NaN", "Infinity", "9223372036854775808", "5", "1.5", "true", "null", "{}", "[]"]
AMOUNTS += ['"-1"', '"-0"', '"-0.0"', '"NaN"', '"1e400"', '"1e3"', '"+5"', '"Infinity"', '"0x5"', '""', '"1,5"', '"\\u0665"']
AMOUNTS += ['"9223372036854775808"', '"9223372036.854775808"', '"0.0000000001"', '"5\\u0000"']


@pytest.mark.parametrize("amount", AMOUNTS)
def test_what_is_no_amount_is_no_limit(house, amount):
    """E14: as bytes, since a client would not write some of them."""
    keys = house.keys()
    key = house.theirs["keys"]
    limits = b'"spend_limits":[{"window":"total","usd":%s}]' % amount.encode()
    headers = {"authorization": f"Bearer {house.served.admin_key}", "content-type": "application/json"}
    for method, path, body in [("POST", "/keys", b'{"name":"a",%s}' % limits), ("PATCH", f"/keys/{key}", b"{%s}" % limits)]:
        refused = house.http.request(method, f"/admin/v1{path}", content=body, headers=headers)
        assert refused.status_code == 400, refused.text
        assert refused.json()["code"] in ("invalid_parameter", "invalid_json")
    assert house.keys() == keys


QUERIES = ["%" * 1000, "_" * 60, "\\", "%_\\", ".*", "(a+)+$", "[", "' OR 1=1 --", "ak-live-%", "\x00", "%s", "*?"]


def test_signs_of_patterns_find_only_themselves(house):
    """G7."""
    for name in ("100%_a\\b", "plain"):
        house.served.new_key(name)
    headers = {"authorization": f"Bearer {house.served.admin_key}"}
    find = lambda **params: house.http.get("/admin/v1/keys", params=params, headers=headers)
    for text in ("100%", "%_", "_a\\", "\\b"):
        assert [key["name"] for key in find(q=text).json()["data"]] == ["100%_a\\b"], text
    for text in QUERIES:
        answer = find(q=text)
        assert answer.status_code in (200, 400), f"{text[:20]!r}: {answer.text}"
        if answer.status_code == 200:
            assert {key["name"] for key in answer.json()["data"]} <= {"100%_a\\b"}, text
    for params in ({"limit": 10**9}, {"limit": -1}, {"sort": ";drop"}, {"after": "x' OR 1=1"}, {"page": 10**9}, {"status": "%"}):
        assert find(**params).status_code == 400, params
    assert find(q="plain").json()["data"]
