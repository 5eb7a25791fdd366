// Names of the interfaces and tables that are ours: one prefix a daemon and network namespace, and
// whatever has such a name is taken to be ours, to be removed when nothing wants it.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::hostnet {

class Names {
 public:
  // One to five of a-z and 0-9, the first a letter (an interface's name has 15 bytes).
  static Result<Names> Create(std::string prefix);

  // "gmbr" and eight letters and digits that come of the uid.
  std::string Bridge(std::string_view network_uid) const;
  std::string Tap(std::string_view port_uid) const;
  // Of nftables, in the families inet and bridge.
  std::string Table() const { return "gemel_" + prefix_; }

  bool IsBridge(std::string_view name) const { return Is(name, "br"); }
  bool IsTap(std::string_view name) const { return Is(name, "tp"); }

 private:
  explicit Names(std::string prefix) : prefix_(std::move(prefix)) {}
  bool Is(std::string_view name, std::string_view what) const;

  std::string prefix_;
};

// What hashing a uid gives; the same in every version.
std::uint64_t StableHash(std::string_view text);

// The prefix for a daemon whose state is in `state_dir`: "gm" for the usual one; others side by side
// on a machine get others.
std::string PrefixFor(std::string_view state_dir);

}  // namespace gemel::hostnet
