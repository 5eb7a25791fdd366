#include "pki/make_certificate.h"

#include <arpa/inet.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>

#include "pki/openssl.h"

namespace gemel::pki {
namespace {

constexpr int kSerialBytes = 16;

Result<KeyPtr> MakeKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return OpensslError(Code::kInternal, "make a key");
  return key;
}

Result<std::string> KeyPem(const KeyPtr& key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                            nullptr) != 1)
    return OpensslError(Code::kInternal, "write a key");
  return TextOf(bio);
}

Result<KeyPtr> ReadKey(std::string_view pem) {
  const BioPtr bio = ReadingBio(pem);
  // An encrypted key must not make OpenSSL ask the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyPtr key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
  if (!key) return OpensslError(Code::kInvalidArgument, "the authority's key");
  return key;
}

Result<X509Ptr> ReadX509(std::string_view pem) {
  const BioPtr bio = ReadingBio(pem);
  X509Ptr certificate(bio ? PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!certificate) return OpensslError(Code::kInvalidArgument, "the authority's certificate");
  return certificate;
}

// 127 random bits: positive, and never given twice (RFC 5280, 4.1.2.2).
Status SetSerial(X509* certificate) {
  std::array<unsigned char, kSerialBytes> bytes{};
  if (RAND_bytes(bytes.data(), kSerialBytes) != 1)
    return OpensslError(Code::kInternal, "random bytes");
  bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7fU) | 0x40U);
  const BignumPtr number(BN_bin2bn(bytes.data(), kSerialBytes, nullptr));
  if (!number || BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr)
    return OpensslError(Code::kInternal, "serial number");
  return {};
}

Status SetName(X509_NAME* subject, const std::string& name) {
  // SAFETY: the API takes text as unsigned bytes.
  const auto* const bytes = reinterpret_cast<const unsigned char*>(name.data());
  if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, bytes,
                                 static_cast<int>(name.size()), -1, 0) != 1)
    return OpensslError(Code::kInvalidArgument, fmt::format("name: {}", name));
  return {};
}

Status AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1)
    return OpensslError(Code::kInternal, fmt::format("extension {}", value));
  return {};
}

bool IsIpAddress(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  return inet_pton(AF_INET, text.c_str(), bytes.data()) == 1 ||
         inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1;
}

// Only characters that no value of OpenSSL's extension syntax takes for its own.
bool IsPlain(std::string_view text, std::string_view more) {
  return !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [more](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != more.npos;
  });
}

Result<std::string> AlternativeNames(const CertificateRequest& request) {
  if (!IsPlain(request.name, "._-@")) {
    return InvalidArgument("name: {}: not 1 to 64 of letters, digits and . _ - @", request.name);
  }
  if (request.purpose == Purpose::kClient)
    return fmt::format("URI:gemel:user:{0}{1}{2}", request.name,
                       request.of_node ? ",URI:gemel:node:" : "",
                       request.of_node ? request.name : "");
  std::string names;
  for (const std::string& address : request.addresses) {
    const bool ip = IsIpAddress(address);
    if (!ip && !IsPlain(address, ".-_*"))
      return InvalidArgument("address: {}: neither a host name nor an IP address", address);
    names += fmt::format("{}{}:{}", names.empty() ? "" : ",", ip ? "IP" : "DNS", address);
  }
  if (names.empty()) return InvalidArgument("address: a server's certificate needs at least one");
  return names;
}

struct Validity {
  std::int64_t not_before;
  std::int64_t not_after;
};

Result<X509Ptr> NewCertificate(const KeyPtr& key, const std::string& name, X509_NAME* issuer,
                               Validity validity) {
  X509Ptr certificate(X509_new());
  if (!certificate) return OpensslError(Code::kInternal, "make a certificate");
  X509* const raw = certificate.get();
  RETURN_IF_ERROR(SetSerial(raw));
  RETURN_IF_ERROR(SetName(X509_get_subject_name(raw), name));
  const bool done =
      X509_set_version(raw, X509_VERSION_3) == 1 && X509_set_pubkey(raw, key.get()) == 1 &&
      X509_set_issuer_name(raw, issuer == nullptr ? X509_get_subject_name(raw) : issuer) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(raw), validity.not_before) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(raw), validity.not_after) != nullptr;
  if (!done) return OpensslError(Code::kInternal, "make a certificate");
  return certificate;
}

Result<KeyAndCertificate> SignAndWrite(const KeyPtr& key, const X509Ptr& certificate,
                                       const KeyPtr& signing_key) {
  if (X509_sign(certificate.get(), signing_key.get(), EVP_sha256()) == 0)
    return OpensslError(Code::kInternal, "sign a certificate");
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_X509(bio.get(), certificate.get()) != 1)
    return OpensslError(Code::kInternal, "write a certificate");
  KeyAndCertificate made;
  ASSIGN_OR_RETURN(made.key_pem, KeyPem(key));
  made.certificate_pem = TextOf(bio);
  made.serial = SerialText(X509_get0_serialNumber(certificate.get()));
  made.not_before = SecondsOf(X509_get0_notBefore(certificate.get()));
  made.not_after = SecondsOf(X509_get0_notAfter(certificate.get()));
  return made;
}

Status AddRevoked(X509_CRL* list, const Revoked& revoked) {
  BIGNUM* raw = nullptr;
  if (BN_hex2bn(&raw, revoked.serial.c_str()) == 0)
    return InvalidArgument("serial: {}: not hexadecimal", revoked.serial);
  const BignumPtr number(raw);
  RevokedPtr entry(X509_REVOKED_new());
  ASN1_INTEGER* const serial = BN_to_ASN1_INTEGER(number.get(), nullptr);
  const TimePtr time(ASN1_TIME_set(nullptr, revoked.time));
  const bool done = entry && serial != nullptr && time &&
                    X509_REVOKED_set_serialNumber(entry.get(), serial) == 1 &&
                    X509_REVOKED_set_revocationDate(entry.get(), time.get()) == 1 &&
                    X509_CRL_add0_revoked(list, entry.get()) == 1;
  ASN1_INTEGER_free(serial);
  if (!done) return OpensslError(Code::kInternal, "revocation list");
  [[maybe_unused]] const X509_REVOKED* const owned_by_list = entry.release();
  return {};
}

}  // namespace

Result<KeyAndCertificate> MakeAuthority(const std::string& name, std::int64_t not_before,
                                        std::int64_t not_after) {
  ASSIGN_OR_RETURN(const KeyPtr key, MakeKey());
  ASSIGN_OR_RETURN(const X509Ptr made, NewCertificate(key, name, nullptr, {not_before, not_after}));
  X509* const raw = made.get();
  RETURN_IF_ERROR(AddExtension(raw, raw, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
  RETURN_IF_ERROR(AddExtension(raw, raw, NID_key_usage, "critical,keyCertSign,cRLSign"));
  RETURN_IF_ERROR(AddExtension(raw, raw, NID_subject_key_identifier, "hash"));
  return SignAndWrite(key, made, key);
}

Result<KeyAndCertificate> MakeCertificate(const CertificateRequest& request,
                                          std::string_view authority_key_pem,
                                          std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const std::string names, AlternativeNames(request));
  ASSIGN_OR_RETURN(const KeyPtr authority_key, ReadKey(authority_key_pem));
  ASSIGN_OR_RETURN(const X509Ptr authority, ReadX509(authority_pem));
  if (X509_check_private_key(authority.get(), authority_key.get()) != 1)
    return OpensslError(Code::kFailedPrecondition, "the authority's key is not its certificate's");
  ASSIGN_OR_RETURN(const KeyPtr key, MakeKey());
  ASSIGN_OR_RETURN(const X509Ptr made,
                   NewCertificate(key, request.name, X509_get_subject_name(authority.get()),
                                  {request.not_before, request.not_after}));
  X509* const raw = made.get();
  X509* const issuer = authority.get();
  const std::string usage = request.purpose == Purpose::kServer ? "critical,serverAuth"
                            : request.purpose == Purpose::kClient
                                ? "critical,clientAuth"
                                : "critical,serverAuth,clientAuth";
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_basic_constraints, "critical,CA:FALSE"));
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_key_usage, "critical,digitalSignature"));
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_ext_key_usage, usage));
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_subject_alt_name, names));
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddExtension(raw, issuer, NID_authority_key_identifier, "keyid:always"));
  return SignAndWrite(key, made, authority_key);
}

Result<std::string> MakeRevocationList(std::span<const Revoked> revoked, std::int64_t number,
                                       std::int64_t now, std::int64_t next_update,
                                       std::string_view authority_key_pem,
                                       std::string_view authority_pem) {
  ASSIGN_OR_RETURN(const KeyPtr key, ReadKey(authority_key_pem));
  ASSIGN_OR_RETURN(const X509Ptr authority, ReadX509(authority_pem));
  const CrlPtr list(X509_CRL_new());
  const TimePtr last(ASN1_TIME_set(nullptr, now));
  const TimePtr next(ASN1_TIME_set(nullptr, next_update));
  const bool begun =
      list && last && next && X509_CRL_set_version(list.get(), X509_CRL_VERSION_2) == 1 &&
      X509_CRL_set_issuer_name(list.get(), X509_get_subject_name(authority.get())) == 1 &&
      X509_CRL_set1_lastUpdate(list.get(), last.get()) == 1 &&
      X509_CRL_set1_nextUpdate(list.get(), next.get()) == 1;
  if (!begun) return OpensslError(Code::kInternal, "revocation list");
  for (const Revoked& one : revoked) RETURN_IF_ERROR(AddRevoked(list.get(), one));
  ASN1_INTEGER* const serial = ASN1_INTEGER_new();
  const bool numbered = serial != nullptr && ASN1_INTEGER_set_int64(serial, number) == 1 &&
                        X509_CRL_add1_ext_i2d(list.get(), NID_crl_number, serial, 0, 0) == 1;
  ASN1_INTEGER_free(serial);
  const BioPtr bio(BIO_new(BIO_s_mem()));
  const bool written = numbered && X509_CRL_sort(list.get()) == 1 &&
                       X509_CRL_sign(list.get(), key.get(), EVP_sha256()) != 0 && bio &&
                       PEM_write_bio_X509_CRL(bio.get(), list.get()) == 1;
  if (!written) return OpensslError(Code::kInternal, "revocation list");
  return TextOf(bio);
}

}  // namespace gemel::pki
