// What busybox lacks in the guest of test_links.py: sockets of AF_VSOCK. Linked statically.
//   tool vsock-serve PORT N     echoes N connections, one after another
//   tool vsock-call PORT BYTES  sends BYTES to a port of the host, wants them back, says how it went
#include <sys/socket.h>
#include <unistd.h>
// The kernel's header needs what is above.
#include <linux/vm_sockets.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

sockaddr_vm Address(unsigned cid, unsigned port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

// SAFETY: sockaddr_vm is a sockaddr by the sockets interface.
const sockaddr* Generic(const sockaddr_vm& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

bool WriteAll(int fd, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

int Serve(unsigned port, int count) {
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  const sockaddr_vm address = Address(VMADDR_CID_ANY, port);
  if (bind(listener, Generic(address), sizeof address) != 0 || listen(listener, 8) != 0) return 1;
  for (int i = 0; i < count; ++i) {
    const int client = accept(listener, nullptr, nullptr);
    std::vector<char> buffer(65536);
    for (ssize_t n; (n = read(client, buffer.data(), buffer.size())) > 0;)
      if (!WriteAll(client, buffer.data(), static_cast<std::size_t>(n))) break;
    close(client);
  }
  return 0;
}

int Call(unsigned port, std::size_t bytes) {
  const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  const sockaddr_vm address = Address(VMADDR_CID_HOST, port);
  if (connect(fd, Generic(address), sizeof address) != 0) {
    std::printf("call %u: %s\n", port, std::strerror(errno));
    return 1;
  }
  std::string sent(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) sent[i] = static_cast<char>(i * 7 + i / 256);
  if (fork() == 0) {
    WriteAll(fd, sent.data(), sent.size());
    shutdown(fd, SHUT_WR);
    _exit(0);
  }
  std::string got;
  std::vector<char> buffer(65536);
  for (ssize_t n; (n = read(fd, buffer.data(), buffer.size())) > 0;)
    got.append(buffer.data(), static_cast<std::size_t>(n));
  std::printf("call %u: %zu bytes back, %s\n", port, got.size(), got == sent ? "same" : "other");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string verb = argv[1];
  const auto port = static_cast<unsigned>(std::atoi(argv[2]));
  if (verb == "vsock-serve") return Serve(port, std::atoi(argv[3]));
  return Call(port, static_cast<std::size_t>(std::atoll(argv[3])));
}
