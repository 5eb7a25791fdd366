#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>

#include "grpc/access/identity.h"

namespace gemel::access {
namespace {

constexpr std::int64_t kNameNs = 30'000'000'000;
constexpr std::size_t kNamesKept = 1024;
constexpr std::size_t kMostGroups = 65536;  // NGROUPS_MAX

std::string LookUpUser(std::uint32_t uid) {
  std::array<char, 16384> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return "";
  return entry.pw_name;
}

std::string LookUpGroup(std::uint32_t gid) {
  std::array<char, 16384> buffer{};
  group entry{};
  group* found = nullptr;
  if (getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return "";
  return entry.gr_name;
}

// N of "fd:N"; -1 for any other peer.
int DescriptorOf(std::string_view peer) {
  if (!peer.starts_with("fd:")) return -1;
  peer.remove_prefix(3);
  int fd = -1;
  const auto [end, error] = std::from_chars(peer.data(), peer.data() + peer.size(), fd);
  return error == std::errc() && end == peer.data() + peer.size() ? fd : -1;
}

// The peer's groups as they were when it connected.
std::vector<gid_t> GroupsOf(int fd, gid_t first) {
  std::vector<gid_t> groups(64);
  while (true) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
      groups.resize(bytes / sizeof(gid_t));
      break;
    }
    if (errno != ERANGE || groups.size() >= kMostGroups) {
      groups.clear();
      break;
    }
    groups.resize(std::min<std::size_t>(kMostGroups, bytes / sizeof(gid_t) + groups.size()));
  }
  groups.push_back(first);
  return groups;
}

}  // namespace

std::string LocalIdentity::Cached(Names& names, std::uint32_t id,
                                  std::string (*look_up)(std::uint32_t)) {
  const std::int64_t now = clock_->MonotonicNow();
  for (auto& [known, name] : names) {
    if (known != id) continue;
    if (now >= name.expires) name = {look_up(id), now + kNameNs};
    return name.name;
  }
  if (names.size() >= kNamesKept) names.clear();
  names.emplace_back(id, Name{look_up(id), now + kNameNs});
  return names.back().second.name;
}

std::string LocalIdentity::UserName(std::uint32_t uid) {
  const MutexLock lock(mutex_);
  return Cached(users_, uid, LookUpUser);
}

std::string LocalIdentity::GroupName(std::uint32_t gid) {
  const MutexLock lock(mutex_);
  return Cached(groups_, gid, LookUpGroup);
}

Result<std::optional<Caller>> LocalIdentity::Identify(const PeerFacts& facts) {
  const int fd = DescriptorOf(facts.peer);
  if (fd < 0) return std::optional<Caller>();
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      peer.uid == static_cast<uid_t>(-1))
    return MakeError(Code::kUnauthenticated, "the kernel does not say who is at the socket");
  const std::string uid = fmt::format("uid:{}", peer.uid);
  const std::string user = UserName(peer.uid);
  Caller caller{Caller::Kind::kLocal, user.empty() ? uid : "user:" + user, {uid}, "unix"};
  for (const gid_t gid : GroupsOf(fd, peer.gid)) {
    caller.also.push_back(fmt::format("gid:{}", gid));
    if (const std::string group = GroupName(gid); !group.empty())
      caller.also.push_back("group:" + group);
  }
  return std::optional(std::move(caller));
}

}  // namespace gemel::access
