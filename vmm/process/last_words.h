// Why a gemel-vmm ends, for the record that its jail writes (jail/exit_record.h): who comes later
// and finds the VM gone can still know.
#pragma once
#include <string_view>

namespace gemel {

// Writes "ended <word> <reason>\n" to `report_fd`, once, cut to what a record holds; -1: nobody
// listens. Words: guest-powered-off, powered-off, guest-rebooted, guest-panicked, triple-fault,
// crashed, controller-gone, not-configured.
void SayLastWords(int report_fd, std::string_view word, std::string_view reason);

}  // namespace gemel
