//! How long a sound is, by what its file says in its first bytes: for the money that is set aside before a provider has
//! listened to it. A file that says nothing, or what cannot be, is taken to be as long as its size allows.

use memchr::memmem;

/// Seconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length {
    /// What the file says, or what is usual for its size.
    pub likely: u64,
    pub most: u64,
}

/// No voice is stored in fewer bytes a second.
const LEAST_RATE: u64 = 500;
/// What a voice is usually stored in.
const USUAL_RATE: u64 = 4_000;
/// No sound has more. A file that claims so says less than it holds.
const MOST_RATE: f64 = 192_000.0;

/// The length of a file.
pub fn length(file: &[u8]) -> Length {
    let size = file.len() as u64;
    let said = said(file).filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    match said.filter(|seconds| size as f64 <= (seconds + 1.0) * MOST_RATE) {
        Some(seconds) => {
            let seconds = (seconds.ceil() as u64).max(1);
            Length { likely: seconds, most: seconds.saturating_add(1) }
        }
        None => Length { likely: size.div_ceil(USUAL_RATE).max(1), most: size.div_ceil(LEAST_RATE).max(1) },
    }
}

fn said(file: &[u8]) -> Option<f64> {
    match file {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => wav(file),
        [b'f', b'L', b'a', b'C', ..] => flac(file),
        [b'O', b'g', b'g', b'S', ..] => ogg(file),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => mp4(file),
        [b'I', b'D', b'3', ..] | [0xff, 0xe0..=0xff, ..] => mp3(file),
        _ => None,
    }
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// Samples without compression: what stands behind the head of the data, whatever its size is said to be.
fn wav(file: &[u8]) -> Option<f64> {
    let mut at = 12;
    let mut rate = None;
    loop {
        let (name, size) = (file.get(at..at + 4)?, le32(file, at + 4)? as usize);
        match name {
            b"fmt " => {
                let short = |at| le32(file, at).map(|n| n & 0xffff);
                let (format, channels) = (short(at + 8)?, short(at + 10)?);
                let (samples, bits) = (le32(file, at + 12)?, short(at + 22)?);
                if ![1, 3, 0xfffe].contains(&format) {
                    return None;
                }
                rate = Some(f64::from(samples) * f64::from(channels) * f64::from(bits) / 8.0);
            }
            b"data" => return Some((file.len() - at - 8) as f64 / rate?),
            _ => {}
        }
        at = at.checked_add(8)?.checked_add(size)?.checked_add(size & 1)?;
    }
}

/// The first block holds the rate in 20 bits and the number of samples in 36.
fn flac(file: &[u8]) -> Option<f64> {
    let packed = be64(file, 18)?;
    let (rate, samples) = (packed >> 44, packed & 0xf_ffff_ffff);
    (rate > 0 && samples > 0).then(|| samples as f64 / rate as f64)
}

/// The last page says how many samples there are.
fn ogg(file: &[u8]) -> Option<f64> {
    let rate = if memmem::find(&file[..file.len().min(256)], b"OpusHead").is_some() {
        48_000
    } else {
        let head = memmem::find(&file[..file.len().min(256)], b"\x01vorbis")?;
        le32(file, head + 12)?
    };
    let last = memmem::rfind(file, b"OggS")?;
    let granule: [u8; 8] = file.get(last + 6..last + 14)?.try_into().ok()?;
    let samples = u64::from_le_bytes(granule);
    (rate > 0 && samples != u64::MAX).then(|| samples as f64 / f64::from(rate))
}

/// `moov` holds `mvhd`, with the duration and its unit.
fn mp4(file: &[u8]) -> Option<f64> {
    let mut at = 0;
    loop {
        let (name, head, size) = atom(file, at)?;
        if name == b"moov" {
            let inside = at + head;
            let (name, head, _) = atom(file, inside)?;
            return (name == b"mvhd").then(|| movie(&file[inside + head..])).flatten();
        }
        at = at.checked_add(size)?;
    }
}

/// Name, length of the head, and length of the whole.
fn atom(file: &[u8], at: usize) -> Option<(&[u8], usize, usize)> {
    let name = file.get(at + 4..at + 8)?;
    match be32(file, at)? {
        0 => None,
        1 => Some((name, 16, usize::try_from(be64(file, at + 8)?).ok()?.max(16))),
        size => Some((name, 8, (size as usize).max(8))),
    }
}

fn movie(head: &[u8]) -> Option<f64> {
    let (unit, duration) = match head.first()? {
        0 => (be32(head, 12)?, u64::from(be32(head, 16)?)),
        _ => (be32(head, 20)?, be64(head, 24)?),
    };
    (unit > 0 && duration > 0).then(|| duration as f64 / f64::from(unit))
}

/// A variable rate says its number of frames; a constant one is what the first frame says.
fn mp3(file: &[u8]) -> Option<f64> {
    let start = match file {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            let size = [a, b, c, d].into_iter().fold(0usize, |size, byte| size << 7 | usize::from(byte & 0x7f));
            10 + size
        }
        _ => 0,
    };
    let frame = file.get(start..)?;
    let header = be32(frame, 0)?;
    if header >> 21 != 0x7ff {
        return None;
    }
    let first = (header >> 19) & 3 == 3;
    let layer_3 = (header >> 17) & 3 == 1;
    let rates: [u32; 3] = if first { [44_100, 48_000, 32_000] } else { [22_050, 24_000, 16_000] };
    let quarter = (header >> 19) & 3 == 0;
    let rate = rates.get((header >> 10) as usize & 3).map(|rate| if quarter { rate / 2 } else { *rate })?;
    let samples = if first { 1152.0 } else { 576.0 };
    for tag in [b"Xing", b"Info"] {
        if let Some(at) = memmem::find(&frame[..frame.len().min(64)], tag)
            && be32(frame, at + 4)? & 1 == 1
        {
            return Some(f64::from(be32(frame, at + 8)?) * samples / f64::from(rate));
        }
    }
    const FIRST: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const SECOND: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let kilobits = *(if first { FIRST } else { SECOND }).get((header >> 12) as usize & 15)?;
    // A rate that changes without saying so may end anywhere: only the first frame is known.
    (layer_3 && kilobits > 0).then(|| frame.len() as f64 / (f64::from(kilobits) * 125.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wav_of(seconds: usize) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend_from_slice(&16_000_u32.to_le_bytes());
        file.extend_from_slice(&32_000_u32.to_le_bytes());
        file.extend_from_slice(b"\x02\0\x10\0data\0\0\0\0");
        file.resize(file.len() + seconds * 32_000, 0);
        file
    }

    #[test]
    fn files_say_how_long_they_are() {
        assert_eq!(length(&wav_of(3)), Length { likely: 3, most: 4 });
        // 10 s at 44,100 Hz.
        let mut flac = b"fLaC\0\0\0\x22".to_vec();
        flac.extend_from_slice(&[0; 10]);
        flac.extend_from_slice(&(44_100_u64 << 44 | 1 << 41 | 15 << 36 | 441_000).to_be_bytes());
        assert_eq!(length(&flac).likely, 10);
        let mut opus = b"OggS\0\x02".to_vec();
        opus.extend_from_slice(&[0; 22]);
        opus.extend_from_slice(b"OpusHead");
        opus.extend_from_slice(b"OggS\0\x04");
        opus.extend_from_slice(&(48_000_u64 * 7).to_le_bytes());
        assert_eq!(length(&opus).likely, 7);
        let mut mp4 = b"\0\0\0\x10ftypM4A \0\0\0\0".to_vec();
        mp4.extend_from_slice(b"\0\0\0\x74moov\0\0\0\x6cmvhd\0\0\0\0\0\0\0\0\0\0\0\0");
        mp4.extend_from_slice(&1000_u32.to_be_bytes());
        mp4.extend_from_slice(&12_345_u32.to_be_bytes());
        assert_eq!(length(&mp4).likely, 13);
        // 128 kbit/s, constant.
        let mut mp3 = vec![0xff, 0xfb, 0x90, 0x00];
        mp3.resize(16_000 * 5, 0);
        assert_eq!(length(&mp3).likely, 5);
        // 100 frames of 1152 samples at 44,100 Hz, behind a tag.
        let mut variable = b"ID3\x04\0\0\0\0\0\x04tags".to_vec();
        variable.extend_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        variable.extend_from_slice(&[0; 32]);
        variable.extend_from_slice(b"Xing\0\0\0\x01\0\0\0\x64");
        assert_eq!(length(&variable).likely, 3);
    }

    #[test]
    fn what_says_nothing_or_lies_is_as_long_as_its_size_allows() {
        assert_eq!(length(&[0; 10_000]), Length { likely: 3, most: 20 });
        assert_eq!(length(b""), Length { likely: 1, most: 1 });
        let mut liar = b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x74moov\0\0\0\x6cmvhd\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        liar.extend_from_slice(&1000_u32.to_be_bytes());
        liar.extend_from_slice(&500_u32.to_be_bytes());
        liar.resize(1_000_000, 0);
        assert_eq!(length(&liar).most, 2_000);
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_length(mut file in prop::collection::vec(any::<u8>(), 0..300), kind in 0..6_usize) {
            let heads: [&[u8]; 6] = [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", b"\0\0\0\x10ftyp", b"ID3", b"\xff\xfb"];
            file.splice(0..0, heads[kind].iter().copied());
            let length = length(&file);
            prop_assert!(1 <= length.likely && length.likely <= length.most);
        }
    }
}
