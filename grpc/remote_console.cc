#include "grpc/remote_console.h"

#include <utility>

namespace gemel::daemon {

// gRPC's object, alive until gRPC is done with it.
class RemoteConsole::Stream final
    : public grpc::ClientBidiReactor<v1::AttachConsoleRequest, v1::AttachConsoleResponse> {
 public:
  Stream(EventLoop* loop, std::shared_ptr<RemoteConsole> console,
         const std::shared_ptr<grpc::Channel>& channel,
         std::unique_ptr<grpc::ClientContext> context, std::shared_ptr<const void> held)
      : held_(std::move(held)),
        loop_(loop),
        console_(std::move(console)),
        stub_(v1::Consoles::NewStub(channel)),
        context_(std::move(context)) {}

  void Begin() {
    stub_->async()->Attach(context_.get(), this);
    AddHold();  // reads and writes are begun outside of gRPC's callbacks
    StartCall();
  }
  void Cancel() { context_->TryCancel(); }

  void OnReadDone(bool ok) override {
    loop_->Post([console = console_, ok] { console->OnRead(ok); });
  }
  void OnWriteDone(bool ok) override {
    loop_->Post([console = console_, ok] { console->OnWritten(ok); });
  }
  void OnDone(const grpc::Status& status) override {
    loop_->Post([console = console_, status] { console->OnDone(status); });
    delete this;
  }

  v1::AttachConsoleRequest request;
  v1::AttachConsoleResponse response;

 private:
  const std::shared_ptr<const void> held_;
  EventLoop* const loop_;
  const std::shared_ptr<RemoteConsole> console_;
  const std::unique_ptr<v1::Consoles::Stub> stub_;
  const std::unique_ptr<grpc::ClientContext> context_;
};

std::shared_ptr<RemoteConsole> RemoteConsole::Begin(EventLoop* loop,
                                                    const std::shared_ptr<grpc::Channel>& channel,
                                                    std::unique_ptr<grpc::ClientContext> context,
                                                    Events events,
                                                    std::shared_ptr<const void> held) {
  std::shared_ptr<RemoteConsole> made(new RemoteConsole(std::move(events)));
  // gRPC's from here on.
  made->stream_ = new Stream(loop, made, channel, std::move(context), std::move(held));
  made->stream_->Begin();
  return made;
}

void RemoteConsole::Write(v1::AttachConsoleRequest request) {
  if (broken_) return;  // its end is about to be told
  stream_->request = std::move(request);
  stream_->StartWrite(&stream_->request);
}

void RemoteConsole::EndOfInput() {
  if (!broken_) stream_->StartWritesDone();
}

void RemoteConsole::Next() {
  if (broken_ || std::exchange(reading_, true)) return;
  stream_->StartRead(&stream_->response);
}

void RemoteConsole::Drop() {
  dropped_ = true;
  events_ = {};
  if (stream_ == nullptr || broken_) return;
  stream_->Cancel();
  Next();  // which fails, and so ends it
}

void RemoteConsole::OnRead(bool ok) {
  reading_ = false;
  if (!ok) {
    broken_ = true;
    return stream_->RemoveHold();
  }
  if (dropped_) return Next();
  events_.on_response(std::move(stream_->response));
}

void RemoteConsole::OnWritten(bool ok) {
  // A write that failed is followed by a read that does.
  if (ok && !dropped_) events_.on_written();
}

void RemoteConsole::OnDone(const grpc::Status& status) {
  stream_ = nullptr;
  if (!dropped_) std::exchange(events_, {}).on_end(status);
}

}  // namespace gemel::daemon
