// A certificate authority in a folder, as `gemel pki` keeps it. All of it is 0600, folders 0700.
//
//   ca.pem  ca-key.pem   the authority; the key stays here
//   crl.pem              what is revoked; gemeld reads it again whenever it changes
//   index  lock          what was issued (authority_index.h), and one command at a time
//   server/              what gemeld on this host presents: cert.pem, key.pem
//   issued/NAME/         one folder to give to NAME: cert.pem, key.pem, ca.pem
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "pki/authority_index.h"

namespace gemel::pki {

struct InitOptions {
  std::string name;                    // the authority's
  std::vector<std::string> addresses;  // of this host's server; the first is its name
  std::string first_client;            // gets a certificate, too; empty: nobody
  int days = 0;                        // of the certificates; the authority's are ten years
};

struct IssueOptions {
  Purpose purpose = Purpose::kClient;
  std::string name;
  std::vector<std::string> addresses;  // of a server
  int days = 397;
  bool renew = false;  // even if there is a valid one of that name
  std::string folder;  // where to; empty: issued/NAME
};

struct IssueResult {
  IssuedCertificate certificate;
  std::string folder;
};

// One thread; other processes are held off by a lock on the folder.
class Authority {
 public:
  // Makes the folder, whole or not at all. kAlreadyExists if it is there and not empty. `now` in
  // seconds since 1970, here and below.
  static Status Init(const std::string& folder, const InitOptions& options, std::int64_t now);
  // kNotFound names the command that makes one.
  static Result<Authority> Open(const std::string& folder);

  const std::vector<IssuedCertificate>& issued() const { return index_; }

  // The index knows of it before the files are there. kAlreadyExists without `renew`.
  Result<IssueResult> Issue(const IssueOptions& options, std::int64_t now);

  // Revokes every valid certificate of that name, or the one of that serial number, durably: when
  // this returns, crl.pem has them. Returns those. kNotFound if there is none of that name at all;
  // an empty list if all were revoked before (and crl.pem is written again).
  Result<std::vector<IssuedCertificate>> Revoke(const std::string& name_or_serial,
                                                std::int64_t now);

 private:
  explicit Authority(std::string folder) : folder_(std::move(folder)) {}
  Status Load();
  Status WriteIndex();
  Status WriteRevocationList(std::int64_t now);
  std::string PathOf(std::string_view file) const { return fmt::format("{}/{}", folder_, file); }

  std::string folder_;
  UniqueFd lock_;
  std::string certificate_pem_;
  std::string key_pem_;
  std::vector<IssuedCertificate> index_;
};

}  // namespace gemel::pki
