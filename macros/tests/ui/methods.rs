use pointsub_macros::service;

struct Cx;
struct Tx<T = u8>(T);
struct Failure;

#[service("/chat/1")]
trait Chat {
    fn not_async(&self, cx: &Cx) -> Result<(), Failure>;
    async fn not_self(cx: &Cx) -> Result<(), Failure>;
    async fn no_context(&self) -> Result<(), Failure>;
    async fn other_context(&self, room: String) -> Result<(), Failure>;
    async fn no_result(&self, cx: &Cx) -> String;
    async fn nothing(&self, cx: &Cx);
    async fn borrows(&self, cx: &Cx, room: &str) -> Result<(), Failure>;
    async fn any(&self, cx: &Cx, room: impl ToString) -> Result<(), Failure>;
    async fn generic<T>(&self, cx: &Cx, room: T) -> Result<(), Failure>;
    async fn two(&self, cx: &Cx, tx: Tx<u8>, more: Tx<u16>) -> Result<(), Failure>;
    async fn of_what(&self, cx: &Cx, tx: Tx) -> Result<(), Failure>;
}

struct Mine;

fn main() {
    let _ = Mine;
}
