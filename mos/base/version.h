#pragma once

namespace mos {

/// Of this program, as records and files name it: "0.1.0".
const char* version();

}  // namespace mos
