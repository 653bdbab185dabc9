//! An answer told beat by beat, cut into pieces at character boundaries, and counted as it goes.

use bytes::BytesMut;

use crate::reply::{Beat, Encode};
use crate::script::{self, Answer, Block, Usage};
use crate::text::TOKEN_BYTES;

/// An answer and how far it has been told.
pub(crate) struct Telling {
    answer: Answer,
    state: State,
    told: usize,
    pieces: usize,
    thinking_bytes: usize,
    visible_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    Open(usize),
    Pieces { block: usize, at: usize },
    Finish,
    End,
}

impl Telling {
    pub(crate) fn new(answer: Answer) -> Self {
        let pieces = answer.blocks.iter().map(|block| piece_count(&answer, block)).sum();
        Self { answer, state: State::Start, told: 0, pieces, thinking_bytes: 0, visible_bytes: 0 }
    }

    /// Tells one beat. False when there is no more.
    pub(crate) fn step(&mut self, encoder: &mut dyn Encode, out: &mut BytesMut) -> bool {
        let (beat, next) = match self.state {
            State::Start => (Beat::Start, self.block_or_finish(0)),
            State::Open(block) => (Beat::Open(block), State::Pieces { block, at: 0 }),
            State::Pieces { block, at } => self.piece(block, at),
            State::Finish => (Beat::Finish, State::End),
            State::End => return false,
        };
        encoder.beat(beat, &self.answer, out);
        let told = match beat {
            Beat::Open(block) => Some((block, None)),
            Beat::Piece { block, text } => Some((block, Some(text.len()))),
            _ => None,
        };
        match told {
            Some((block, None)) => self.count_open(block),
            Some((block, Some(bytes))) => self.count_piece(block, bytes),
            None => {}
        }
        self.state = next;
        true
    }

    fn piece(&self, block: usize, at: usize) -> (Beat<'_>, State) {
        let content = &self.answer.blocks[block];
        let whole = content.streamed();
        if at >= whole.len() {
            return (Beat::Close(block), self.block_or_finish(block + 1));
        }
        let end = piece_end(&self.answer, content, at);
        let text = &whole[at..end];
        (Beat::Piece { block, text }, State::Pieces { block, at: end })
    }

    fn block_or_finish(&self, block: usize) -> State {
        match block < self.answer.blocks.len() {
            true => State::Open(block),
            false => State::Finish,
        }
    }

    fn count_open(&mut self, block: usize) {
        if let Block::Call { name, .. } = &self.answer.blocks[block] {
            self.visible_bytes += name.len();
        }
    }

    fn count_piece(&mut self, block: usize, bytes: usize) {
        self.told += 1;
        match self.answer.blocks[block] {
            Block::Thinking { .. } => self.thinking_bytes += bytes,
            _ => self.visible_bytes += bytes,
        }
    }

    pub(crate) fn is_midway(&self) -> bool {
        self.pieces > 0 && self.told >= self.pieces.div_ceil(2)
    }

    /// The tokens of what was told so far.
    pub(crate) fn spoken(&self) -> Usage {
        script::count(self.thinking_bytes, self.visible_bytes, self.answer.choices)
    }

    /// Whether a piece of the answer comes next.
    pub(crate) fn piece_is_next(&self) -> bool {
        match self.state {
            State::Pieces { block, at } => at < self.answer.blocks[block].streamed().len(),
            _ => false,
        }
    }
}

/// Where the piece that begins at `at` ends.
fn piece_end(answer: &Answer, block: &Block, at: usize) -> usize {
    let whole = block.streamed();
    let aim = match (block, answer.pieces) {
        (Block::Text(_), Some(pieces)) => {
            // Piece n ends at n * length / pieces, rounded down: the first such end beyond `at`.
            let nth = ((at + 1) * pieces).div_ceil(whole.len());
            nth * whole.len() / pieces
        }
        (Block::Call { .. }, _) => at + 3 * TOKEN_BYTES,
        _ => at + TOKEN_BYTES,
    };
    match whole.floor_char_boundary(aim) {
        end if end > at => end,
        _ => whole.ceil_char_boundary(at + 1),
    }
}

fn piece_count(answer: &Answer, block: &Block) -> usize {
    match (block, answer.pieces) {
        (Block::Text(_), Some(pieces)) => pieces,
        (Block::Call { arguments, .. }, _) => arguments.len().div_ceil(3 * TOKEN_BYTES),
        _ => block.streamed().len().div_ceil(TOKEN_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Stop;

    struct Plain;

    impl Encode for Plain {
        fn beat(&mut self, beat: Beat<'_>, _: &Answer, out: &mut BytesMut) {
            if let Beat::Piece { text, .. } = beat {
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"|");
            }
        }
    }

    fn told(text: &str, pieces: Option<usize>) -> String {
        let mut telling = Telling::new(Answer {
            blocks: vec![Block::Text(text.to_owned())],
            stop: Stop::End,
            pieces,
            choices: 1,
            usage: Usage::default(),
            report_usage: true,
        });
        let mut out = BytesMut::new();
        while telling.step(&mut Plain, &mut out) {}
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn pieces_never_split_a_character_and_always_end() {
        assert_eq!(told("hello", None), "hell|o|");
        assert_eq!(told("東京都", None), "東|京|都|");
        assert_eq!(told("abcdefgh", Some(2)), "abcd|efgh|");
        assert_eq!(told("a🦀b", Some(3)), "a|🦀|b|");
    }

    #[test]
    fn as_many_pieces_as_were_asked_for() {
        for pieces in [1, 3, 7, 100] {
            assert_eq!(told(&"x".repeat(400), Some(pieces)).matches('|').count(), pieces);
        }
    }
}
