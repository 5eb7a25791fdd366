// TCP between guest and host for test_net.py, with every byte checked. Linked statically: guest and host
// run the same file.
//   tool serve PORT             for whoever comes, side by side
//   tool up ADDRESS PORT N      sends N bytes there; what became of them, as the other end says
//   tool down ADDRESS PORT N    takes N bytes from there
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr std::size_t kBlock = 1 << 16;
using Block = std::array<std::uint64_t, kBlock / sizeof(std::uint64_t)>;

struct Order {
  char up;  // 'u': bytes follow; 'd': bytes are wanted
  std::uint64_t size;
};

// What the stream has at `offset`, a multiple of 8: no two places look alike.
std::uint64_t WordAt(std::uint64_t offset) {
  std::uint64_t word = offset * 0x9e3779b97f4a7c15 + 1;
  word ^= word >> 29;
  return word * 0xbf58476d1ce4e5b9;
}

void Fill(Block& block, std::uint64_t offset) {
  for (std::uint64_t& word : block) {
    word = WordAt(offset);
    offset += sizeof word;
  }
}

bool WriteAll(int fd, const void* data, std::size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, at, size);
    if (n <= 0) return false;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

std::size_t ReadAll(int fd, void* data, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = read(fd, static_cast<char*>(data) + done, size - done);
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

bool Give(int fd, std::uint64_t size) {
  static Block block;
  for (std::uint64_t done = 0; done < size; done += kBlock) {
    Fill(block, done);
    if (!WriteAll(fd, block.data(), std::min<std::uint64_t>(kBlock, size - done))) return false;
  }
  return true;
}

// "100 bytes, same": how many came, and whether they are the right ones.
std::string Take(int fd, std::uint64_t size) {
  static Block block;
  static Block expected;
  std::uint64_t done = 0;
  bool same = true;
  while (done < size) {
    const std::size_t want = std::min<std::uint64_t>(kBlock, size - done);
    const std::size_t n = ReadAll(fd, block.data(), want);
    Fill(expected, done);
    same = same && std::memcmp(block.data(), expected.data(), n) == 0;
    done += n;
    if (n < want) break;
  }
  return std::to_string(done) + " bytes, " + (same ? "same" : "other");
}

sockaddr_in Address(const char* text, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

// SAFETY: sockaddr_in is a sockaddr by the sockets interface.
const sockaddr* Generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void ServeOne(int fd) {
  Order order{};
  if (ReadAll(fd, &order, sizeof order) != sizeof order) return;
  if (order.up != 'u') {
    static_cast<void>(Give(fd, order.size));
    return;
  }
  const std::string answer = Take(fd, order.size);
  static_cast<void>(WriteAll(fd, answer.data(), answer.size()));
}

int Serve(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = Address("0.0.0.0", port);
  if (bind(listener, Generic(address), sizeof address) != 0 || listen(listener, 64) != 0) return 1;
  std::puts("listening");
  std::fflush(stdout);
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    const int fd = accept(listener, nullptr, nullptr);
    if (fd >= 0 && fork() == 0) {
      ServeOne(fd);
      _exit(0);
    }
    close(fd);
  }
}

int Call(bool up, const sockaddr_in& address, std::uint64_t size) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, Generic(address), sizeof address) != 0) {
    std::printf("%s: %s\n", up ? "up" : "down", std::strerror(errno));
    return 1;
  }
  const Order order = {up ? 'u' : 'd', size};
  std::string answer;
  if (WriteAll(fd, &order, sizeof order) && up && Give(fd, size)) {
    std::array<char, 100> text{};
    answer.assign(text.data(), ReadAll(fd, text.data(), text.size()));
  } else if (!up) {
    answer = Take(fd, size);
  }
  std::printf("%s: %s\n", up ? "up" : "down", answer.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "serve" && argc == 3) return Serve(std::atoi(argv[2]));
  if ((verb != "up" && verb != "down") || argc != 5) return 2;
  return Call(verb == "up", Address(argv[2], std::atoi(argv[3])),
              static_cast<std::uint64_t>(std::atoll(argv[4])));
}
