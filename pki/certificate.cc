#include "pki/certificate.h"

#include <time.h>

#include <algorithm>

#include "pki/openssl.h"

namespace gemel::pki {
namespace {

constexpr std::string_view kUserUri = "gemel:user:";
constexpr std::string_view kNodeUri = "gemel:node:";

std::string_view BytesOf(const ASN1_STRING* text) {
  const int length = text == nullptr ? 0 : ASN1_STRING_length(text);
  if (length <= 0) return {};
  // SAFETY: ASN1_STRING keeps `length` bytes, signed or not is a matter of its API.
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
          static_cast<std::size_t>(length)};
}

// A name that cannot be mistaken for another in a policy or a log.
std::string PlainName(std::string_view name) {
  const bool plain = std::ranges::all_of(name, [](char c) { return c > ' ' && c != 0x7f; });
  return plain && name.size() <= 128 ? std::string(name) : std::string();
}

// What follows `prefix` in the first alternative name that is such a URI.
std::string UriOf(const X509* certificate, std::string_view prefix) {
  // SAFETY: X509_get_ext_d2i gives the type that its NID stands for.
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const std::string_view uri = BytesOf(name->d.uniformResourceIdentifier);
    if (uri.starts_with(prefix)) return PlainName(uri.substr(prefix.size()));
  }
  return "";
}

std::string CommonNameOf(const X509* certificate) {
  X509_NAME* const subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) return "";
  unsigned char* utf8 = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  if (length < 0) return "";
  // SAFETY: `length` bytes at `utf8` are ours until freed.
  std::string name =
      PlainName({reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(length)});
  OPENSSL_free(utf8);
  return name;
}

X509Ptr ParsePem(std::string_view pem) {
  const BioPtr bio = ReadingBio(pem);
  X509Ptr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  ERR_clear_error();
  return certificate;
}

}  // namespace

Result<Certificate> ReadCertificate(std::string_view pem) {
  const X509Ptr parsed = ParsePem(pem);
  if (!parsed) return InvalidArgument("not a PEM certificate");
  Certificate certificate;
  certificate.serial = SerialText(X509_get0_serialNumber(parsed.get()));
  certificate.name = UriOf(parsed.get(), kUserUri);
  if (certificate.name.empty()) certificate.name = CommonNameOf(parsed.get());
  certificate.node = UriOf(parsed.get(), kNodeUri);
  certificate.not_before = SecondsOf(X509_get0_notBefore(parsed.get()));
  certificate.not_after = SecondsOf(X509_get0_notAfter(parsed.get()));
  return certificate;
}

Result<std::string> FingerprintOf(std::string_view pem) {
  const X509Ptr parsed = ParsePem(pem);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (!parsed || X509_digest(parsed.get(), EVP_sha256(), digest, &size) != 1)
    return InvalidArgument("not a PEM certificate");
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

bool IsSignedBy(std::string_view pem, std::string_view authority_pem) {
  const X509Ptr certificate = ParsePem(pem);
  const X509Ptr authority = ParsePem(authority_pem);
  if (!certificate || !authority) return false;
  const bool valid = X509_verify(certificate.get(), X509_get0_pubkey(authority.get())) == 1;
  ERR_clear_error();
  return valid;
}

Status CheckKeyMatches(std::string_view key_pem, std::string_view pem) {
  const BioPtr bio = ReadingBio(key_pem);
  // An encrypted key must not make OpenSSL ask the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  const KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr)
                       : nullptr);
  if (!key) return OpensslError(Code::kInvalidArgument, "not a PEM key without password");
  const X509Ptr certificate = ParsePem(pem);
  if (!certificate || X509_check_private_key(certificate.get(), key.get()) != 1)
    return OpensslError(Code::kInvalidArgument, "not the key of the certificate");
  return {};
}

std::string DayText(std::int64_t seconds) {
  const time_t time = seconds;
  tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%d", &utc)};
}

}  // namespace gemel::pki
