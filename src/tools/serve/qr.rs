//! A QR code of half blocks, for a phone's camera.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light around the code, as ISO 18004 wants it.
const QUIET_ZONE: i32 = 4;

/// Two rows of modules in each line; light modules are full blocks, so that it can be read on a
/// dark terminal. `None`: the text is too long.
pub(super) fn draw(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let range = -QUIET_ZONE..code.size() + QUIET_ZONE;
    let mut drawn = String::new();
    for y in range.clone().step_by(2) {
        if !drawn.is_empty() {
            drawn.push('\n');
        }
        for x in range.clone() {
            let below = y + 1 < range.end;
            drawn.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) if below => '█',
                (false, _) => '▀',
                (true, false) if below => '▄',
                (true, _) => ' ',
            });
        }
    }
    Some(drawn)
}
