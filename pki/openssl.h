// OpenSSL's objects as owned values, and its error queue as an Error. Inside pki/ alone.
#pragma once
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::pki {

template <auto kFree>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, Freer<BN_free>>;
using CrlPtr = std::unique_ptr<X509_CRL, Freer<X509_CRL_free>>;
using ExtensionPtr = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
using RevokedPtr = std::unique_ptr<X509_REVOKED, Freer<X509_REVOKED_free>>;
using TimePtr = std::unique_ptr<ASN1_TIME, Freer<ASN1_TIME_free>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;

// "<what>: <OpenSSL's reason>"; empties this thread's queue.
inline std::unexpected<Error> OpensslError(Code code, std::string_view what) {
  const unsigned long number = ERR_peek_last_error();
  const char* const reason = number == 0 ? nullptr : ERR_reason_error_string(number);
  ERR_clear_error();
  return MakeError(code, fmt::format("{}: {}", what, reason == nullptr ? "failed" : reason));
}

// A BIO that reads `text`, which must outlive it.
inline BioPtr ReadingBio(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

inline std::string TextOf(const BioPtr& bio) {
  const char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

// Lower-case hexadecimal digits of a serial number, without leading zeros.
inline std::string SerialText(const ASN1_INTEGER* serial) {
  const BignumPtr number(ASN1_INTEGER_to_BN(serial, nullptr));
  if (!number) return "";
  char* const digits = BN_bn2hex(number.get());
  if (digits == nullptr) return "";
  std::string text;
  for (const char* c = digits; *c != '\0'; ++c)
    text += *c >= 'A' && *c <= 'F' ? static_cast<char>(*c - 'A' + 'a') : *c;
  OPENSSL_free(digits);
  text.erase(0, std::min(text.find_first_not_of('0'), text.size() - 1));
  return text;
}

// Seconds since 1970; 0 for a time that is none.
inline std::int64_t SecondsOf(const ASN1_TIME* time) {
  const TimePtr epoch(ASN1_TIME_set(nullptr, 0));
  int days = 0;
  int seconds = 0;
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return 0;
  return std::int64_t{days} * 86'400 + seconds;
}

}  // namespace gemel::pki
