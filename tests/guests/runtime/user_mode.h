// Code at CPL 3, with every port and all memory allowed. There a KVM that emulates kernel mode runs
// instructions natively, so it is where a guest that measures spends its time.
#pragma once

namespace guest {

// Prepares this processor. Once, with interrupts disabled.
void EnableUserMode();

// Runs `function` at CPL 3 with interrupts disabled and returns when it has returned. It must not
// print much: a port access costs more there. REQUIRES: EnableUserMode.
void RunInUserMode(void (*function)());

// Called at CPL 3: waits for one interrupt. One that came before is not lost: it is still pending.
void SleepInUserMode();

}  // namespace guest
