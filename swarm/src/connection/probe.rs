//! Probes a peer for a sign of life.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_swarm::Stream;
use pointsub_core::StreamError;

use super::stream_io::stream_error;

/// What a ping carries.
const LEN: usize = 32;

/// Sends a ping on this stream and waits for its echo. The peer's agreement to the protocol may not
/// have arrived yet: a peer that does not know the protocol shows as an error here.
pub(crate) async fn answers(mut stream: Stream) -> Result<(), StreamError> {
    let mut bytes = [0; LEN];
    let echoed = async {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        stream.read_exact(&mut bytes).await
    };
    echoed.await.map_err(|error| stream_error(&error))
}
