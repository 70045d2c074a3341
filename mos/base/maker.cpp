#include "mos/base/maker.h"

#include <utility>

#include "mos/base/record.h"
#include "mos/base/version.h"

namespace mos {

std::string maker_record(const std::string& maker, Json details) {
  details[kProgramKey] = version();
  details[kMakerKey] = maker;
  return json_text(details);
}

}  // namespace mos
