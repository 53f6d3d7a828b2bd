//! Nodes where no runtime is.

use futures::executor::block_on;
use pointsub_tokio::{Node, NodeError};

#[test]
fn a_node_that_is_built_outside_of_a_runtime_says_so() {
    let error = block_on(Node::builder().build()).expect_err("nothing runs here");
    assert!(matches!(error, NodeError::NoRuntime), "{error:?}");
}
