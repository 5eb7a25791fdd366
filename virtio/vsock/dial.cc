#include "virtio/vsock/dial.h"

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/load_le.h"

namespace gemel::virtio {
namespace {

using Bytes = std::array<std::byte, 8>;

Bytes Encode(std::uint32_t first, std::uint32_t second) {
  Bytes bytes{};
  StoreLe(std::span(bytes), 0, first);
  StoreLe(std::span(bytes), 4, second);
  return bytes;
}

}  // namespace

VsockDialState SendDialRequest(int socket, const VsockDialRequest& request) {
  return SendFdMessage(socket, Encode(request.id, request.port), -1);
}

VsockDialState ReceiveDialRequest(int socket, VsockDialRequest& request) {
  Bytes bytes{};
  const VsockDialState state = ReceiveFdMessage(socket, bytes, nullptr);
  if (state == VsockDialState::kDone) request = {LoadLe32(bytes, 0), LoadLe32(bytes, 4)};
  return state;
}

VsockDialState SendDialReply(int socket, const VsockDialReply& reply) {
  return SendFdMessage(socket, Encode(reply.id, static_cast<std::uint32_t>(reply.error)),
                       reply.error == 0 ? reply.fd.get() : -1);
}

VsockDialState ReceiveDialReply(int socket, VsockDialReply& reply) {
  Bytes bytes{};
  UniqueFd fd;
  const VsockDialState state = ReceiveFdMessage(socket, bytes, &fd);
  if (state != VsockDialState::kDone) return state;
  reply.id = LoadLe32(bytes, 0);
  reply.error = static_cast<int>(LoadLe32(bytes, 4));
  // Without a descriptor where one should be: this process has no number left for it.
  if (reply.error == 0 && !fd) reply.error = EMFILE;
  reply.fd = std::move(fd);
  return VsockDialState::kDone;
}

}  // namespace gemel::virtio
