// What gemel-keeper and gemeld make of each other's messages. The first byte says whose it is, and how
// many descriptors come along.
#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "keeper/memory_file.h"
#include "keeper/messages.h"

namespace gemel::keeper {
namespace {

ControlMessage MessageOf(std::string payload, int fds) {
  ControlMessage message{std::move(payload), {}};
  for (int i = 0; i < fds; ++i) message.fds.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return message;
}

// Whatever was accepted says the same after another round trip.
void CheckStatement(const ControlMessage& message) {
  const auto first = DecodeStatement(message);
  if (!first) return;
  const auto again = DecodeStatement(EncodeStatement(*first));
  CHECK(again && *again == *first);
}

void CheckView(ControlMessage message) {
  auto first = DecodeView(std::move(message));
  if (!first) return;
  const View view = first->view;
  const auto again = DecodeView(EncodeView(std::move(*first)));
  CHECK(again && again->view.node == view.node && again->view.phase == view.phase);
  CHECK(again->view.trouble.size() > 900 || again->view.SaysTheSame(view));
}

void CheckMemory(const std::string& text) {
  const auto first = DecodeMemory(text);
  if (!first) return;
  const auto again = DecodeMemory(EncodeMemory(*first));
  CHECK(again && *again == *first);
}

}  // namespace
}  // namespace gemel::keeper

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // SAFETY: bytes are read as characters.
  const std::string payload(reinterpret_cast<const char*>(data) + 1, size - 1);
  const int fds = data[0] >> 6;
  if (data[0] % 3 == 0) gemel::keeper::CheckStatement(gemel::keeper::MessageOf(payload, fds));
  if (data[0] % 3 == 1) gemel::keeper::CheckView(gemel::keeper::MessageOf(payload, fds));
  if (data[0] % 3 == 2) gemel::keeper::CheckMemory(payload);
  return 0;
}
