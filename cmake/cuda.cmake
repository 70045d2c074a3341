# MOS_HAS_CUDA_KERNELS: whether our CUDA kernels are built, which is where LibTorch has CUDA and there
# is a compiler for it (CMAKE_CUDA_COMPILER or CUDACXX names one that is not on the PATH).
option(MOS_CUDA_KERNELS "Build our CUDA kernels where LibTorch and a compiler for CUDA are there" ON)
set(MOS_CUDA_ARCHITECTURES "80;90" CACHE STRING "Architectures of our CUDA kernels")
set(MOS_HAS_CUDA_KERNELS OFF)
find_file(MOS_TORCH_CUDA c10/cuda/impl/cuda_cmake_macros.h PATHS ${TORCH_INCLUDE_DIRS}
          NO_DEFAULT_PATH)
mark_as_advanced(MOS_TORCH_CUDA)
if(MOS_CUDA_KERNELS AND MOS_TORCH_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(MOS_HAS_CUDA_KERNELS ON)
  endif()
endif()

# mos_cuda_kernels(<target> <folder>): the sources of the folder become part of the target. nvcc is
# given none of the C++ compiler's flags.
function(mos_cuda_kernels target folder)
  if(NOT MOS_HAS_CUDA_KERNELS)
    return()
  endif()
  file(GLOB kernels CONFIGURE_DEPENDS ${folder}/*.cu)
  add_library(${target}_cuda STATIC ${kernels})
  target_include_directories(${target}_cuda PRIVATE ${PROJECT_SOURCE_DIR})
  # Said here because CMake takes C++'s for it otherwise, which 3.25 does not know of nvcc 13.
  set_target_properties(${target}_cuda PROPERTIES CUDA_STANDARD 17
                        CUDA_ARCHITECTURES "${MOS_CUDA_ARCHITECTURES}")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  target_sources(${target} PRIVATE ${sources})
  target_include_directories(${target} SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  target_compile_definitions(${target} PUBLIC MOS_CUDA_KERNELS)
  target_link_libraries(${target} PUBLIC ${target}_cuda)
endfunction()
