// One connection of a ConsoleHub. Private to it; on its loop's thread.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/unique_fd.h"
#include "vmm/devices/console_hub.h"

namespace gemel {

class ConsoleClient {
 public:
  // Whether it is to stay.
  enum class Verdict : std::uint8_t { kStay, kLeave };

  ConsoleClient(ConsoleHub* hub, UniqueFd socket) : hub_(hub), socket_(std::move(socket)) {}
  ~ConsoleClient();

  Status Watch();
  // Sends what it has not got, as far as its socket takes it.
  Verdict Send();
  // Reads what it types, as far as the port has room.
  Verdict ResumeInput();
  // It waits for its reader.
  bool behind() const { return out_full_; }
  int fd() const { return socket_.get(); }

 private:
  void OnEvents(std::uint32_t events);
  Verdict Read();
  Verdict ReadRequest();
  Verdict ReadInput();
  void Begin();
  Verdict SendSome(bool* more);
  Verdict UpdateWatch();

  ConsoleHub* const hub_;
  const UniqueFd socket_;
  bool watched_ = false;

  std::array<std::byte, 8> header_{};  // the request, then the answer
  std::size_t request_size_ = 0;       // of it received
  std::size_t header_left_ = 0;        // of the answer, to be sent
  std::uint64_t next_ = 0;             // number of the next byte to be sent
  bool begun_ = false;

  bool input_open_ = true;
  bool input_paused_ = false;  // the port had no room
  bool out_full_ = false;      // the socket took less than all
};

}  // namespace gemel
