// An invitation as text: gmj_ and letters, digits, - and _. It names the address that is to be asked, the
// certificate that must answer there, and a secret. Whoever has it may join once. Pure.
#pragma once
#include <string>
#include <string_view>

#include "base/result.h"
#include "cluster/config/cluster_config.h"

namespace gemel::member {

struct Token {
  cluster::Role role = cluster::Role::kNode;
  std::string address;      // of the join port, "10.0.0.1:2381"
  std::string fingerprint;  // of the certificate there: 64 hexadecimal digits
  std::string secret;       // bytes
  bool operator==(const Token&) const = default;
};

std::string EncodeToken(const Token& token);
// kInvalidArgument: not a token, cut short, or with a letter changed.
Result<Token> DecodeToken(std::string_view text);

}  // namespace gemel::member
