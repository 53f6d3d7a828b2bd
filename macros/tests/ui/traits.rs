use pointsub_macros::service;

struct Cx;
struct Failure;

#[service]
trait NoName {}

#[service("chat")]
trait NoSlash {}

#[service("/pointsub/chat")]
trait Reserved {}

#[service("/chat/1", module = chat)]
trait Unknown {}

#[service("/chat/1")]
trait Generic<T> {
    type Room;
    async fn first(&self, cx: &Cx) -> Result<(), Failure>;
    #[method(name = "first")]
    async fn second(&self, cx: &Cx) -> Result<(), Failure>;
    #[method(retries = 3)]
    async fn third(&self, cx: &Cx) -> Result<(), Failure>;
    #[cfg(unix)]
    async fn fourth(&self, cx: &Cx) -> Result<(), Failure>;
}

fn main() {}
