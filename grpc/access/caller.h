// Who makes a call, as bindings and the audit log name them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gemel::access {

struct Caller {
  enum class Kind : std::uint8_t {
    kLocal,        // over the Unix socket; the kernel vouches
    kCertificate,  // over TLS; our certificate authority vouches
    kDaemon,       // gemeld itself: reconciliation, restarts
  };
  Kind kind = Kind::kLocal;
  // "user:root", "cert:alice", "daemon". A local user without a name has only a number: "uid:1234".
  std::string name;
  // What else a binding may call them: "uid:0", "group:kvm", "gid:107".
  std::vector<std::string> also;
  // "unix", "192.0.2.1:50312".
  std::string address;
  // The node of the cluster that passes the call on, "nodes/b"; empty: the caller asks by itself.
  std::string via{};
};

// Whether a binding's member means this caller. "everyone" means anybody who was identified.
bool Answers(const Caller& caller, std::string_view member);

// The caller for what the daemon does by itself.
Caller DaemonCaller();

}  // namespace gemel::access
