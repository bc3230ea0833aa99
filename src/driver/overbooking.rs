//! Room that is held by those who do not use it.

use crate::room::Room;

/// How many turns the driver gives everybody to move before it lends room; see [`Room::lend`]. A
/// turn lets all tasks run that are ready on its worker.
const TURNS_BEFORE_LENDING: u32 = 256;

/// Sees to it that permits which nobody uses do not stop others for ever.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    moves: u64,
    /// How many turns there was no move.
    turns: u32,
}

impl Stall {
    /// To be asked once a turn while nothing is in flight: whether somebody waits for room, which
    /// no delivery will give back then. Lends it once nobody has moved for long enough.
    pub(crate) fn lends(&mut self, room: &Room) -> bool {
        let Some(moves) = room.moves_of_line() else {
            return false;
        };
        if moves != self.moves {
            *self = Self { moves, turns: 0 };
        }
        self.turns += 1;
        if self.turns > TURNS_BEFORE_LENDING {
            self.turns = TURNS_BEFORE_LENDING;
            room.lend();
        }
        true
    }
}
