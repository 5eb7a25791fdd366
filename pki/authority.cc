#include "pki/authority.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/file_util.h"
#include "pki/certificate.h"

namespace gemel::pki {
namespace {

constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kAuthorityDays = 3652;
// Clocks of clients may be a little behind.
constexpr std::int64_t kSkew = 300;

// The folder and those above it that are missing.
Status MakeFolder(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoError(errno, part);
    if (end == std::string::npos) return {};
  }
}

bool HasSomething(const std::string& folder) {
  std::error_code error;
  return std::filesystem::exists(folder, error) && !std::filesystem::is_empty(folder, error);
}

std::int64_t EndOf(std::int64_t now, int days) { return now + std::int64_t{days} * kDay; }

Status CheckDays(int days) {
  if (days < 1 || days > 3650) return InvalidArgument("days: {}: not 1 to 3650", days);
  return {};
}

// Where `issue` puts it unless told otherwise; the name has been checked to be a plain word.
std::string IssuedFolder(const std::string& folder, const std::string& name) {
  return fmt::format("{}/issued/{}", folder, name);
}

Status FillFolder(const std::string& folder, const InitOptions& options, std::int64_t now) {
  RETURN_IF_ERROR(MakeFolder(folder));
  ASSIGN_OR_RETURN(const KeyAndCertificate made,
                   MakeAuthority(options.name, now - kSkew, now + kAuthorityDays * kDay));
  RETURN_IF_ERROR(ReplaceFile(folder + "/ca-key.pem", made.key_pem));
  RETURN_IF_ERROR(ReplaceFile(folder + "/index", FormatIndex({})));
  ASSIGN_OR_RETURN(const std::string list, MakeRevocationList({}, now, now, made.not_after,
                                                              made.key_pem, made.certificate_pem));
  RETURN_IF_ERROR(ReplaceFile(folder + "/crl.pem", list));
  RETURN_IF_ERROR(ReplaceFile(folder + "/ca.pem", made.certificate_pem));
  ASSIGN_OR_RETURN(Authority authority, Authority::Open(folder));
  IssueOptions server{Purpose::kServer,
                      options.addresses.empty() ? "" : options.addresses[0],
                      options.addresses,
                      options.days,
                      false,
                      folder + "/server"};
  RETURN_IF_ERROR(authority.Issue(server, now));
  if (options.first_client.empty()) return {};
  IssueOptions client{Purpose::kClient, options.first_client, {}, options.days, false, ""};
  RETURN_IF_ERROR(authority.Issue(client, now));
  return {};
}

}  // namespace

Status Authority::Init(const std::string& folder, const InitOptions& options, std::int64_t now) {
  RETURN_IF_ERROR(CheckDays(options.days));
  if (HasSomething(folder)) {
    return MakeError(Code::kAlreadyExists,
                     fmt::format("{}: is there already, and is not empty", folder));
  }
  const std::string unfinished = folder + ".new";
  std::error_code error;
  std::filesystem::remove_all(unfinished, error);
  if (error) return ErrnoError(error.value(), unfinished);
  auto made = FillFolder(unfinished, options, now);
  if (made && rename(unfinished.c_str(), folder.c_str()) != 0) made = ErrnoError(errno, folder);
  if (!made) std::filesystem::remove_all(unfinished, error);
  return made;
}

Result<Authority> Authority::Open(const std::string& folder) {
  Authority authority(folder);
  if (access(authority.PathOf("ca-key.pem").c_str(), F_OK) != 0 && errno == ENOENT)
    return MakeError(Code::kNotFound, fmt::format("{}: no certificate authority there", folder));
  ASSIGN_OR_RETURN(authority.lock_, OpenFile(authority.PathOf("lock"), O_RDWR | O_CREAT));
  // Waits for another command, which takes milliseconds.
  while (flock(authority.lock_.get(), LOCK_EX) != 0)
    if (errno != EINTR) return ErrnoError(errno, authority.PathOf("lock"));
  RETURN_IF_ERROR(authority.Load());
  return authority;
}

Status Authority::Load() {
  ASSIGN_OR_RETURN(certificate_pem_, ReadTextFile(PathOf("ca.pem")));
  ASSIGN_OR_RETURN(key_pem_, ReadTextFile(PathOf("ca-key.pem")));
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(PathOf("index"), 64U << 20));
  auto index = ParseIndex(text);
  if (!index) return WithContext(std::move(index).error(), PathOf("index"));
  index_ = *std::move(index);
  return {};
}

Status Authority::WriteIndex() { return ReplaceFile(PathOf("index"), FormatIndex(index_)); }

Status Authority::WriteRevocationList(std::int64_t now) {
  std::vector<Revoked> revoked;
  for (const IssuedCertificate& entry : index_)
    if (entry.revoked) revoked.push_back({entry.serial, *entry.revoked});
  ASSIGN_OR_RETURN(const Certificate authority, ReadCertificate(certificate_pem_));
  ASSIGN_OR_RETURN(
      const std::string list,
      MakeRevocationList(revoked, now, now, authority.not_after, key_pem_, certificate_pem_));
  return ReplaceFile(PathOf("crl.pem"), list);
}

Result<IssueResult> Authority::Issue(const IssueOptions& options, std::int64_t now) {
  RETURN_IF_ERROR(CheckDays(options.days));
  const auto same = std::ranges::find_if(index_, [&](const IssuedCertificate& entry) {
    return entry.name == options.name && entry.purpose == options.purpose && entry.valid_at(now);
  });
  if (same != index_.end() && !options.renew) {
    return MakeError(Code::kAlreadyExists, fmt::format("name: {}: has a valid certificate until {}",
                                                       options.name, DayText(same->not_after)));
  }
  ASSIGN_OR_RETURN(const Certificate authority, ReadCertificate(certificate_pem_));
  const CertificateRequest request{options.purpose, options.name, options.addresses, now - kSkew,
                                   std::min(EndOf(now, options.days), authority.not_after)};
  ASSIGN_OR_RETURN(const KeyAndCertificate made,
                   MakeCertificate(request, key_pem_, certificate_pem_));
  index_.push_back(
      {made.serial, options.purpose, options.name, made.not_before, made.not_after, {}});
  RETURN_IF_ERROR(WriteIndex());
  IssueResult result{index_.back(),
                     options.folder.empty() ? IssuedFolder(folder_, options.name) : options.folder};
  RETURN_IF_ERROR(MakeFolder(result.folder));
  RETURN_IF_ERROR(ReplaceFile(result.folder + "/ca.pem", certificate_pem_));
  RETURN_IF_ERROR(ReplaceFile(result.folder + "/key.pem", made.key_pem));
  RETURN_IF_ERROR(ReplaceFile(result.folder + "/cert.pem", made.certificate_pem));
  return result;
}

Result<std::vector<IssuedCertificate>> Authority::Revoke(const std::string& name_or_serial,
                                                         std::int64_t now) {
  bool known = false;
  std::vector<IssuedCertificate> revoked;
  for (IssuedCertificate& entry : index_) {
    if (entry.name != name_or_serial && entry.serial != name_or_serial) continue;
    known = true;
    if (!entry.valid_at(now)) continue;
    entry.revoked = now;
    revoked.push_back(entry);
  }
  if (!known)
    return MakeError(
        Code::kNotFound,
        fmt::format("{}: no certificate of that name or serial number was issued", name_or_serial));
  RETURN_IF_ERROR(WriteIndex());
  RETURN_IF_ERROR(WriteRevocationList(now));
  return revoked;
}

}  // namespace gemel::pki
