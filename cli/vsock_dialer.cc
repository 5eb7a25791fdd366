#include "cli/vsock_dialer.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

#include "launch/unix_socket.h"
#include "virtio/vsock/dial.h"

namespace gemel::cli {
namespace {

// A guest that asks without end must not keep console and signals waiting.
constexpr int kRequestsATurn = 16;

}  // namespace

Result<std::unique_ptr<VsockDialer>> VsockDialer::Create(UniqueFd socket, std::string path,
                                                         EventLoop* loop) {
  std::unique_ptr<VsockDialer> dialer(new VsockDialer(std::move(socket), std::move(path), loop));
  RETURN_IF_ERROR(loop->Watch(dialer->socket_.get(), EPOLLIN,
                              [raw = dialer.get()](std::uint32_t) { raw->OnRequests(); }));
  return dialer;
}

VsockDialer::~VsockDialer() {
  if (socket_) loop_->Unwatch(socket_.get());
}

void VsockDialer::OnRequests() {
  if (Serve()) return;
  loop_->Unwatch(socket_.get());
  socket_.Reset();
}

bool VsockDialer::Serve() {
  for (int i = 0; i < kRequestsATurn; ++i) {
    virtio::VsockDialRequest request;
    const virtio::VsockDialState got = virtio::ReceiveDialRequest(socket_.get(), request);
    if (got != virtio::VsockDialState::kDone) return got == virtio::VsockDialState::kAgain;
    virtio::VsockDialReply reply{.id = request.id, .error = ECONNREFUSED, .fd = {}};
    if (auto fd = launch::ConnectUnix(fmt::format("{}_{}", path_, request.port))) {
      reply.error = 0;
      reply.fd = std::move(*fd);
    }
    // The device asks for few at a time, so that there is room for the answers.
    if (virtio::SendDialReply(socket_.get(), reply) != virtio::VsockDialState::kDone) return false;
  }
  return true;
}

}  // namespace gemel::cli
