// What the two ends of a control socket make of a hostile peer's datagrams: framing, requests,
// replies and events. The input is one byte that chooses the side and how many descriptors come
// along, then the payload; every other input goes through a socket, header and all.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/control_messages.h"

namespace gemel {
namespace {

ControlMessage MessageOf(std::string payload, std::size_t fds) {
  ControlMessage message{std::move(payload), {}};
  for (std::size_t i = 0; i < fds; ++i)
    message.fds.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
  return message;
}

// Whatever was accepted says the same after another round trip.
void CheckRequest(ControlRequest request) {
  const std::uint64_t id = request.id;
  const std::size_t kind = request.body.index();
  const auto* configure = std::get_if<ConfigureRequest>(&request.body);
  const MachineConfig config = configure != nullptr ? configure->config : MachineConfig{};
  if (configure != nullptr) CHECK(Validate(config).has_value());
  auto again = DecodeRequest(EncodeRequest(std::move(request)));
  CHECK(again.has_value() && again->id == id && again->body.index() == kind);
  if (const auto* second = std::get_if<ConfigureRequest>(&again->body))
    CHECK(second->config == config);
}

void CheckFromVmm(const FromVmm& said) {
  const auto* reply = std::get_if<ControlReply>(&said);
  const auto again = DecodeFromVmm(reply != nullptr ? EncodeReply(*reply)
                                                    : EncodeEvent(std::get<ControlEvent>(said)));
  CHECK(again.has_value() && again->index() == said.index());
  if (reply != nullptr) CHECK(std::get<ControlReply>(*again).info == reply->info);
}

void Decode(ControlMessage message, bool request) {
  if (request) {
    auto decoded = DecodeRequest(std::move(message));
    if (decoded) CheckRequest(std::move(*decoded));
  } else {
    const auto decoded = DecodeFromVmm(std::move(message));
    if (decoded) CheckFromVmm(*decoded);
  }
}

// The payload as a raw datagram, so that the header is the fuzzer's too.
void ReceiveRaw(const std::string& datagram, bool request) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const UniqueFd peer(ends[0]);
  auto channel = ControlChannel::Adopt(UniqueFd(ends[1]));
  CHECK(channel.has_value());
  if (send(peer.get(), datagram.data(), datagram.size(), MSG_DONTWAIT) < 0) return;
  auto received = channel->Receive();
  if (received && received->state == Received::State::kMessage)
    Decode(std::move(received->message), request);
}

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool request = (data[0] & 1) != 0;
  const std::size_t fds = (data[0] >> 2) & 15;
  // SAFETY: bytes as chars, within the fuzzer's buffer.
  std::string payload(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & 2) != 0)
    gemel::ReceiveRaw(payload, request);
  else
    gemel::Decode(gemel::MessageOf(std::move(payload), fds), request);
  return 0;
}
