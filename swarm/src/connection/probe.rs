//! Asks a peer for a sign of life.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p_swarm::Stream;
use pointsub_core::StreamError;

use super::stream_io::stream_error;

/// What a ping carries.
const LEN: usize = 32;

/// Whether the peer answers a ping on this stream. Its agreement to the protocol is on the way back
/// already.
pub(crate) async fn answers(mut stream: Stream) -> bool {
    let mut bytes = [0; LEN];
    let echoed = async {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        stream.read_exact(&mut bytes).await
    };
    match echoed.await {
        Ok(()) => true,
        // That it does not know the protocol is an answer too.
        Err(error) => stream_error(&error) == StreamError::Unsupported,
    }
}
