#include "block/iscsi/dial.h"

#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/load_le.h"

namespace gemel::block {
DialState SendDialQuestion(int socket) {
  std::array<std::byte, 1> bytes{};
  return SendFdMessage(socket, bytes, -1);
}

DialState ReceiveDialQuestion(int socket) {
  std::array<std::byte, 1> bytes{};
  return ReceiveFdMessage(socket, bytes, nullptr);
}

DialState SendDialAnswer(int socket, const Dialed& answer) {
  std::array<std::byte, 4> bytes{};
  StoreLe(std::span(bytes), 0, static_cast<std::uint32_t>(answer.error));
  return SendFdMessage(socket, bytes, answer.error == 0 ? answer.socket.get() : -1);
}

DialState ReceiveDialAnswer(int socket, Dialed& answer) {
  std::array<std::byte, 4> bytes{};
  UniqueFd fd;
  const DialState state = ReceiveFdMessage(socket, bytes, &fd);
  if (state != DialState::kDone) return state;
  answer.error = static_cast<int>(LoadLe32(bytes));
  // Without a descriptor where one should be: this process has no number left for it.
  if (answer.error == 0 && !fd) answer.error = EMFILE;
  answer.socket = std::move(fd);
  return DialState::kDone;
}

}  // namespace gemel::block
