#include "pki/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "pki/openssl.h"

namespace gemel::pki {

Result<std::string> RandomBytes(std::size_t count) {
  std::string bytes(count, '\0');
  // SAFETY: the API takes bytes as unsigned.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
    return OpensslError(Code::kInternal, "random bytes");
  return bytes;
}

bool SecretsEqual(std::string_view one, std::string_view other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace gemel::pki
