// Log lines as entries of systemd's journal, with fields: PRIORITY, SYSLOG_IDENTIFIER,
// GEMEL_COMPONENT, GEMEL_REQUEST_ID, MESSAGE. Its native protocol
// (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram an entry.
//
// Not libsystemd's sd_journal_send: that waits for a journald that does not read, and a log line may
// hold no thread up, least of all the manager loop.
#pragma once
#include <string>
#include <string_view>

#include "base/log_sink.h"
#include "base/result.h"

namespace gemel::daemon {

// Whether stderr is the journal's, as systemd says in $JOURNAL_STREAM ("DEVICE:INODE" of it; sd-daemon).
bool StderrIsJournal(const char* journal_stream);

// The datagram of a line. Pure.
std::string JournalEntry(const LogLine& line);

// From here on lines are entries; one that the journal has no room for goes to stderr, which is
// the journal's too. Once, before other threads run. kNotFound: no journal listens at `path`.
Status LogToJournal(const std::string& path = "/run/systemd/journal/socket");

}  // namespace gemel::daemon
