#include "launch/iscsi_dialer.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/file_util.h"

namespace gemel::launch {

Result<IscsiDialer> StartIscsiDialer(const std::string& host, std::uint16_t port) {
  ASSIGN_OR_RETURN(const std::string path, FindProgram("gemel-dial", "helpers/dial", "GEMEL_DIAL"));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return ErrnoError(errno, "disk: iscsi: socketpair");
  UniqueFd vm_end(ends[0]);
  ChildFds fds;
  fds.fds.emplace_back(ends[1]);
  ASSIGN_OR_RETURN(ChildProcess process,
                   ChildProcess::Spawn(path, {"gemel-dial", "3", host, fmt::format("{}", port)},
                                       std::move(fds)));
  return IscsiDialer{std::move(process), std::move(vm_end)};
}

Status FillSecret(IscsiConfig& iscsi) {
  if (iscsi.secret_file.empty()) return {};
  auto text = ReadTextFile(iscsi.secret_file);
  if (!text) return WithContext(text.error(), "disk: iscsi: password-file");
  iscsi.password = text->substr(0, text->find('\n'));
  return {};
}

}  // namespace gemel::launch
