// One interrupt source, the only way a device reaches the guest's CPUs.
#pragma once

namespace gemel {

class Interrupt {
 public:
  virtual ~Interrupt() = default;
  // Raises the interrupt (an edge). Any thread; does not block.
  virtual void Trigger() = 0;
  // The eventfd that a kernel data path (vhost) signals instead of calling Trigger; -1 if there is
  // none. While the vector is masked the route is withdrawn and a trigger sets its pending bit
  // (PCIe 6.1.4).
  virtual int event_fd() const = 0;
};

}  // namespace gemel
