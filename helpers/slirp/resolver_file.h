// /etc/resolv.conf for libslirp, once no file can be opened any more.
//
// libslirp passes the guest's questions on to the host's name server, which it looks up in that file
// every second by stat and fopen. This process has given up opening files by then; so it defines
// those two functions itself (stat64 and fopen64, which they are), and they read a descriptor that
// was opened before. An /etc/resolv.conf that is written anew in place is noticed; one that is
// replaced by another file is not.
#pragma once

namespace gemel::usernet {

// Opens the file. Without it, or without a name server in it, the guest's questions get no answer.
void OpenResolverFile();

}  // namespace gemel::usernet
