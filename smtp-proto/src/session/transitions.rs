//! The table of transitions of a side, made a matrix.

/// Makes a matrix of the table `TRANSITIONS`, so that a look-up is one load, and gives `State` the methods to ask it. The
/// last state is `Closed`, the last move is `End`.
macro_rules! transitions {
    ($table:ident: $state:ident, $move:ident) => {
        const MATRIX: [[Option<$state>; $move::End as usize + 1]; $state::Closed as usize + 1] = {
            let mut matrix = [[None; $move::End as usize + 1]; $state::Closed as usize + 1];
            let mut row = 0;
            while row < $table.len() {
                let (from, by, to) = $table[row];
                assert!(matrix[from as usize][by as usize].is_none(), "one row a state and move");
                matrix[from as usize][by as usize] = Some(to);
                row += 1;
            }
            matrix
        };

        impl $state {
            /// Where `by` leads from here, if anywhere.
            #[must_use]
            pub fn after(self, by: $move) -> Option<Self> {
                MATRIX.get(self as usize).and_then(|row| row.get(by as usize)).copied().flatten()
            }

            /// Every transition, in the order of the table.
            pub fn transitions() -> impl Iterator<Item = (Self, $move, Self)> {
                $table.iter().copied()
            }
        }
    };
}

pub(crate) use transitions;
