//! What is paid for more than bytes: a method, a typed service, a recorder of metrics.

use crate::contender::Contender;
use crate::options::Options;
use crate::scenario::matrix::Matrix;
use crate::size::Cell;

/// Who is compared; the first is what the others are compared with.
pub(crate) const CONTENDERS: [Contender; 4] =
    [Contender::PointSub, Contender::Named, Contender::Typed, Contender::Recorded];

/// The cells.
pub(crate) const CELLS: [Cell; 3] = [Cell::new(512, 1), Cell::new(512, 64), Cell::new(512, 1024)];

/// Measures.
pub(crate) fn run(options: &Options) -> Matrix {
    let mut matrix = Matrix::default();
    for cell in CELLS {
        eprintln!("{cell}, what is paid for more than bytes");
        matrix.measure(cell, None, options, &CONTENDERS);
    }
    matrix
}
