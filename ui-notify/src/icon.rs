//! The icons: a state is told by shape first and colour second, so that who sees no colours or
//! has a dark panel can tell them apart.
//!
//! A picture is drawn by asking of each pixel's sub-samples whether it lies inside the shape.

use postern_api::ConnectionState;

/// A square picture, ARGB with eight bits each, row by row, as StatusNotifierItem wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: u16,
    /// Four bytes a pixel: alpha, red, green, blue.
    pub argb: Vec<u8>,
}

/// Sub-samples along each side of a pixel.
const SAMPLES: u16 = 4;

/// Returns the icon of a state at one size.
pub fn icon(state: ConnectionState, size: u16) -> Picture {
    let [red, green, blue] = colour(state);
    let mut argb = Vec::with_capacity(usize::from(size) * usize::from(size) * 4);
    for row in 0..size {
        for column in 0..size {
            argb.extend([coverage(state, size, column, row), red, green, blue]);
        }
    }
    Picture { size, argb }
}

fn colour(state: ConnectionState) -> [u8; 3] {
    match state {
        ConnectionState::Connected => [46, 160, 67],
        ConnectionState::Connecting | ConnectionState::Reconnecting | ConnectionState::Disconnecting => [56, 139, 253],
        ConnectionState::NeedsInput => [227, 160, 8],
        ConnectionState::Blocked | ConnectionState::Quarantined => [218, 54, 51],
        ConnectionState::Disconnected | ConnectionState::ServiceUnavailable => [139, 148, 158],
    }
}

/// Returns how much of a pixel the shape covers, 0 to 255.
fn coverage(state: ConnectionState, size: u16, column: u16, row: u16) -> u8 {
    let mut inside = 0_u16;
    for step in 0..SAMPLES * SAMPLES {
        let at = |pixel: u16, sub: u16| {
            // From pixel coordinates to the unit square around the middle, -1 to 1.
            let fine = f32::from(pixel) + (f32::from(sub) + 0.5) / f32::from(SAMPLES);
            fine / f32::from(size) * 2.0 - 1.0
        };
        inside += u16::from(shape(state, at(column, step % SAMPLES), at(row, step / SAMPLES)));
    }
    u8::try_from(inside * 255 / (SAMPLES * SAMPLES)).unwrap_or(u8::MAX)
}

/// Tells whether the point lies inside the state's shape; `y` grows downwards.
fn shape(state: ConnectionState, x: f32, y: f32) -> bool {
    let radius = (x * x + y * y).sqrt();
    let ring = (0.62..0.88).contains(&radius);
    match state {
        // An open ring: the door stands, nobody goes through.
        ConnectionState::Disconnected => ring,
        // A full disc with a tick cut out.
        ConnectionState::Connected => radius < 0.88 && !tick(x, y),
        // A ring with gaps: something is on its way.
        ConnectionState::Connecting | ConnectionState::Reconnecting | ConnectionState::Disconnecting => {
            ring && (y.atan2(x) * 1.5).sin().abs() > 0.35
        }
        // A triangle with an exclamation mark cut out.
        ConnectionState::NeedsInput => triangle(x, y) && !exclamation(x, y),
        // A square with a bar cut out: no entry.
        ConnectionState::Blocked => x.abs() < 0.82 && y.abs() < 0.82 && !(x.abs() < 0.5 && y.abs() < 0.14),
        // An octagon with a bar cut out: stay where you are.
        ConnectionState::Quarantined => {
            x.abs().max(y.abs()).max((x.abs() + y.abs()) * 0.707) < 0.86 && !(x.abs() < 0.14 && y.abs() < 0.5)
        }
        // A cross: there is no service to speak with.
        ConnectionState::ServiceUnavailable => {
            x.abs() < 0.8 && y.abs() < 0.8 && ((x - y).abs() < 0.24 || (x + y).abs() < 0.24)
        }
    }
}

fn tick(x: f32, y: f32) -> bool {
    let near = |from: (f32, f32), to: (f32, f32)| {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let along = (((x - from.0) * dx + (y - from.1) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
        let (px, py) = (x - from.0 - along * dx, y - from.1 - along * dy);
        (px * px + py * py).sqrt() < 0.12
    };
    near((-0.42, 0.02), (-0.12, 0.34)) || near((-0.12, 0.34), (0.44, -0.32))
}

fn triangle(x: f32, y: f32) -> bool {
    y < 0.72 && y > -0.85 && x.abs() < (y + 0.85) * 0.56
}

fn exclamation(x: f32, y: f32) -> bool {
    x.abs() < 0.1 && ((-0.3..0.25).contains(&y) || (0.38..0.56).contains(&y))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [ConnectionState; 7] = [
        ConnectionState::Disconnected,
        ConnectionState::Connecting,
        ConnectionState::NeedsInput,
        ConnectionState::Connected,
        ConnectionState::Blocked,
        ConnectionState::Quarantined,
        ConnectionState::ServiceUnavailable,
    ];

    #[test]
    fn every_state_has_a_shape_of_its_own_whatever_its_colour() {
        let alpha = |state| icon(state, 22).argb.chunks(4).map(|pixel| pixel[0]).collect::<Vec<_>>();
        for (index, one) in STATES.iter().enumerate() {
            for other in &STATES[index + 1..] {
                let difference =
                    alpha(*one).iter().zip(alpha(*other)).filter(|(left, right)| left.abs_diff(*right) > 128).count();
                assert!(difference > 20, "{one} and {other} differ in {difference} pixels of 484");
            }
        }
    }

    #[test]
    fn a_picture_has_four_bytes_a_pixel() {
        assert_eq!(icon(ConnectionState::Connected, 48).argb.len(), 48 * 48 * 4);
    }
}
