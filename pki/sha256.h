// SHA-256 of bytes that come piece by piece.
#pragma once
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace gemel::pki {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // 64 digits of 0-9 and a-f. Once, at the end.
  std::string HexDigest();

 private:
  evp_md_ctx_st* const context_;
};

}  // namespace gemel::pki
