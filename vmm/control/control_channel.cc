#include "vmm/control/control_channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::uint32_t kMagic = 0x434c4d47;  // "GMLC"
constexpr std::uint8_t kFramingVersion = 1;
constexpr std::size_t kHeaderBytes = 12;
constexpr std::size_t kScmMaxFds = 253;
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

enum class Place : std::uint8_t { kInline = 0, kMemfd = 1 };

struct Header {
  Place place = Place::kInline;
  std::uint32_t length = 0;
};

using HeaderBytes = std::array<std::byte, kHeaderBytes>;

HeaderBytes EncodeHeader(const Header& header) {
  HeaderBytes bytes{};
  StoreLe<std::uint32_t>(bytes, 0, kMagic);
  StoreLe<std::uint8_t>(bytes, 4, kFramingVersion);
  StoreLe<std::uint8_t>(bytes, 5, static_cast<std::uint8_t>(header.place));
  StoreLe<std::uint32_t>(bytes, 8, header.length);
  return bytes;
}

Result<Header> DecodeHeader(std::span<const std::byte> datagram) {
  if (datagram.size() < kHeaderBytes)
    return InvalidArgument("control: {} bytes: shorter than a header", datagram.size());
  if (LoadLe32(datagram) != kMagic) return InvalidArgument("control: not a control message");
  const auto version = LoadLe<std::uint8_t>(datagram, 4);
  if (version != kFramingVersion)
    return InvalidArgument("control: framing version {}: this one speaks {}", version,
                           kFramingVersion);
  const auto place = LoadLe<std::uint8_t>(datagram, 5);
  if (place > 1 || LoadLe16(datagram, 6) != 0)
    return InvalidArgument("control: unknown flags in the header");
  return Header{static_cast<Place>(place), LoadLe32(datagram, 8)};
}

Result<UniqueFd> SealedMemfd(std::string_view payload) {
  UniqueFd fd(memfd_create("gemel-control", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return ErrnoError(errno, "memfd_create");
  RETURN_IF_ERROR(WriteAll(fd.get(), std::as_bytes(std::span(payload))));
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return ErrnoError(errno, "F_ADD_SEALS");
  return fd;
}

// The seals are what makes the size and content final; without them the peer could change both
// between our check and our use.
Result<std::string> ReadSealedMemfd(int fd, std::uint32_t length) {
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals)
    return InvalidArgument("control: payload is not in a sealed memfd");
  struct stat info{};
  if (fstat(fd, &info) != 0) return ErrnoError(errno, "control: fstat");
  if (info.st_size != static_cast<off_t>(length))
    return InvalidArgument("control: payload of {} bytes: header says {}", info.st_size, length);
  std::string payload(length, '\0');
  RETURN_IF_ERROR(ReadExactlyAt(fd, 0, std::as_writable_bytes(std::span(payload))));
  return payload;
}

struct FdsBuffer {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kScmMaxFds * sizeof(int))> bytes{};
};

// Every descriptor that the kernel has installed for us, owned before anything else is looked at.
std::vector<UniqueFd> TakeFds(msghdr& header) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return fds;
}

Result<ControlMessage> Assemble(std::span<const std::byte> datagram, std::vector<UniqueFd> fds) {
  ASSIGN_OR_RETURN(const Header header, DecodeHeader(datagram));
  const auto rest = datagram.subspan(kHeaderBytes);
  ControlMessage message;
  if (header.place == Place::kInline) {
    if (rest.size() != header.length)
      return InvalidArgument("control: payload of {} bytes: header says {}", rest.size(),
                             header.length);
    message.payload.resize(rest.size());
    if (!rest.empty()) std::memcpy(message.payload.data(), rest.data(), rest.size());
  } else {
    if (!rest.empty() || fds.empty() || header.length > kMaxPayloadBytes)
      return InvalidArgument("control: bad message in a memfd ({} bytes)", header.length);
    ASSIGN_OR_RETURN(message.payload, ReadSealedMemfd(fds.back().get(), header.length));
    fds.pop_back();
  }
  if (fds.size() > kMaxMessageFds)
    return InvalidArgument("control: {} descriptors: more than {}", fds.size(), kMaxMessageFds);
  message.fds = std::move(fds);
  return message;
}

void AttachFds(msghdr& header, FdsBuffer& buffer, std::span<const int> fds) {
  if (fds.empty()) return;
  header.msg_control = buffer.bytes.data();
  header.msg_controllen = CMSG_SPACE(fds.size_bytes());
  cmsghdr* c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(fds.size_bytes());
  std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
}

Status SendDatagram(int socket, msghdr& header, int timeout_ms) {
  const std::int64_t deadline = MonotonicMs() + timeout_ms;
  while (sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET)
      return MakeError(Code::kAborted, "control: the peer is gone");
    if (errno != EAGAIN) return ErrnoError(errno, "control: sendmsg");
    const std::int64_t left = deadline - MonotonicMs();
    if (left <= 0) return MakeError(Code::kUnavailable, "control: the peer does not read");
    pollfd poll_fd{socket, POLLOUT, 0};
    poll(&poll_fd, 1, static_cast<int>(left));
  }
  return {};
}

}  // namespace

Result<std::pair<ControlChannel, ControlChannel>> ControlChannel::CreatePair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "socketpair");
  return std::pair(ControlChannel(UniqueFd(ends[0])), ControlChannel(UniqueFd(ends[1])));
}

Result<ControlChannel> ControlChannel::Adopt(UniqueFd socket) {
  int domain = 0;
  int type = 0;
  socklen_t size = sizeof domain;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0)
    return ErrnoError(errno, fmt::format("control: descriptor {}", socket.get()));
  size = sizeof type;
  if (getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) != 0 || domain != AF_UNIX ||
      type != SOCK_SEQPACKET)
    return InvalidArgument("control: descriptor {}: not a Unix SOCK_SEQPACKET socket",
                           socket.get());
  if (fcntl(socket.get(), F_SETFD, FD_CLOEXEC) != 0) return ErrnoError(errno, "control: F_SETFD");
  return ControlChannel(std::move(socket));
}

Status ControlChannel::Send(const ControlMessage& message, int timeout_ms) {
  if (message.payload.size() > kMaxPayloadBytes)
    return InvalidArgument("control: payload of {} bytes: more than {}", message.payload.size(),
                           kMaxPayloadBytes);
  if (message.fds.size() > kMaxMessageFds)
    return InvalidArgument("control: {} descriptors: more than {}", message.fds.size(),
                           kMaxMessageFds);
  std::vector<int> fds;
  fds.reserve(message.fds.size() + 1);
  for (const UniqueFd& fd : message.fds) fds.push_back(fd.get());
  Header header{Place::kInline, static_cast<std::uint32_t>(message.payload.size())};
  UniqueFd memfd;
  if (message.payload.size() > kMaxDatagramBytes - kHeaderBytes) {
    ASSIGN_OR_RETURN(memfd, SealedMemfd(message.payload));
    fds.push_back(memfd.get());
    header.place = Place::kMemfd;
  }
  HeaderBytes header_bytes = EncodeHeader(header);
  // sendmsg only reads what iov_base points at.
  iovec parts[] = {{header_bytes.data(), header_bytes.size()},
                   {const_cast<char*>(message.payload.data()), memfd ? 0 : message.payload.size()}};
  msghdr datagram{};
  datagram.msg_iov = parts;
  datagram.msg_iovlen = 2;
  FdsBuffer control;
  AttachFds(datagram, control, fds);
  return SendDatagram(socket_.get(), datagram, timeout_ms);
}

Result<Received> ControlChannel::Receive() {
  std::vector<std::byte> buffer(kMaxDatagramBytes);
  FdsBuffer control;
  iovec part{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes.data();
  header.msg_controllen = control.bytes.size();
  ssize_t n = -1;
  do {
    n = recvmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno == EAGAIN) return Received{};
  // A peer that dies with unread messages of ours resets the connection.
  if (n < 0 && errno == ECONNRESET) return Received{Received::State::kClosed, {}};
  if (n < 0) return ErrnoError(errno, "control: recvmsg");
  std::vector<UniqueFd> fds = TakeFds(header);
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return InvalidArgument("control: a message of more than {} bytes or {} descriptors",
                           kMaxDatagramBytes, kScmMaxFds);
  // An empty datagram reads like the end; none of ours is empty.
  if (n == 0) return Received{Received::State::kClosed, {}};
  ASSIGN_OR_RETURN(ControlMessage message,
                   Assemble(std::span(buffer).first(static_cast<std::size_t>(n)), std::move(fds)));
  return Received{Received::State::kMessage, std::move(message)};
}

}  // namespace gemel
