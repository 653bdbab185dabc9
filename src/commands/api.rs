//! `anykey api`: a call of the admin API as it is, for what no command does.

use crate::cli::client::ADMIN_BASE;
use crate::cli::{Call, Failure, Session};
use clap::Args;
use http::Method;
use serde_json::{Map, Value};

#[derive(Args, Debug)]
pub struct ApiArgs {
    /// GET, POST, PATCH, PUT or DELETE
    #[arg(value_parser = method)]
    method: Method,

    /// Below /admin/v1, such as /keys; see anykey api GET /openapi.json
    path: String,

    /// A field of the body, or of the query for GET and DELETE; a value that is JSON is sent as such
    #[arg(long = "field", short = 'f', value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<(String, Value)>,

    /// Send this file as the body; `-` is stdin
    #[arg(long, value_name = "FILE", conflicts_with = "fields")]
    input: Option<String>,

    /// Follow a list to its end and print its members as one array
    #[arg(long)]
    paginate: bool,
}

fn method(text: &str) -> Result<Method, String> {
    let method = text.to_ascii_uppercase();
    match method.as_str() {
        "GET" | "POST" | "PATCH" | "PUT" | "DELETE" => method.parse().map_err(|_| text.to_string()),
        _ => Err("it is one of GET, POST, PATCH, PUT, DELETE".into()),
    }
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it is written NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((name.to_string(), value))
}

pub async fn run(args: ApiArgs, session: &mut Session) -> Result<(), Failure> {
    let client = session.client()?;
    let call = build(&args, session)?;
    if args.paginate {
        let listing = client.list(call, None).await?;
        let items: Vec<&str> = listing.items.iter().map(|item| item.get()).collect();
        return session.terminal.line(&format!("[{}]", items.join(",")));
    }
    let answer = client.send(call).await?;
    session.terminal.write(&answer.bytes)?;
    match answer.bytes.last() {
        None | Some(b'\n') => Ok(()),
        Some(_) => session.terminal.write(b"\n"),
    }
}

fn build(args: &ApiArgs, session: &mut Session) -> Result<Call, Failure> {
    let (path, query) = args.path.split_once('?').unwrap_or((&args.path, ""));
    let below = path.strip_prefix(ADMIN_BASE).unwrap_or(path);
    let mut call = Call::new(args.method.clone(), format!("/{}", below.trim_start_matches('/')));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        call = call.query(&decoded(name), decoded(value));
    }
    if let Some(path) = &args.input {
        return Ok(call.body(match path.as_str() {
            "-" => session.terminal.read_input()?.into_bytes(),
            path => {
                std::fs::read(path).map_err(|error| Failure::failed(format!("{path} could not be read: {error}")))?
            }
        }));
    }
    if matches!(args.method, Method::GET | Method::DELETE) {
        for (name, value) in &args.fields {
            call = call.query(name, value.as_str().map_or_else(|| value.to_string(), str::to_string));
        }
        return Ok(call);
    }
    if args.fields.is_empty() {
        return Ok(call);
    }
    call.json(&args.fields.iter().cloned().collect::<Map<String, Value>>())
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
