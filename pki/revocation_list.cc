#include "pki/revocation_list.h"

#include "base/log.h"
#include "pki/openssl.h"

namespace gemel::pki {

Result<std::set<std::string>> ReadRevocationList(std::string_view pem,
                                                 std::string_view authority_pem) {
  const BioPtr list_bio = ReadingBio(pem);
  const CrlPtr list(list_bio ? PEM_read_bio_X509_CRL(list_bio.get(), nullptr, nullptr, nullptr)
                             : nullptr);
  if (!list) return OpensslError(Code::kInvalidArgument, "not a PEM revocation list");
  const BioPtr authority_bio = ReadingBio(authority_pem);
  const X509Ptr authority(
      authority_bio ? PEM_read_bio_X509(authority_bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!authority) return OpensslError(Code::kInvalidArgument, "the authority's certificate");
  if (X509_CRL_verify(list.get(), X509_get0_pubkey(authority.get())) != 1)
    return OpensslError(Code::kPermissionDenied, "the revocation list is not this authority's");
  std::set<std::string> serials;
  STACK_OF(X509_REVOKED)* const entries = X509_CRL_get_REVOKED(list.get());
  for (int i = 0; i < sk_X509_REVOKED_num(entries); ++i)
    serials.insert(SerialText(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i))));
  return serials;
}

Result<std::unique_ptr<RevocationList>> RevocationList::Open(std::string path,
                                                             std::string authority_path) {
  std::unique_ptr<RevocationList> list(
      new RevocationList(std::move(path), std::move(authority_path)));
  const MutexLock lock(list->mutex_);
  RETURN_IF_ERROR(list->LoadLocked());
  return list;
}

Status RevocationList::LoadLocked() {
  // The stamp first: a change between the two is read again next time.
  stamp_ = StampOf(path_);
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path_, 16U << 20));
  ASSIGN_OR_RETURN(const std::string authority, ReadTextFile(authority_path_));
  auto serials = ReadRevocationList(text, authority);
  if (!serials) return WithContext(std::move(serials).error(), path_);
  revoked_ = *std::move(serials);
  return {};
}

bool RevocationList::IsRevoked(const std::string& serial) {
  const MutexLock lock(mutex_);
  if (StampOf(path_) != stamp_) {
    if (const auto loaded = LoadLocked(); !loaded) {
      LOG_UNLIMITED(kError, "pki", "{}; the revocation list before it stays in force",
                    loaded.error().message);
    }
  }
  return revoked_.contains(serial);
}

}  // namespace gemel::pki
