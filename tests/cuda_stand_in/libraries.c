/* What ONNX Runtime's CUDA provider calls of the driver, the runtime, cuBLAS, cuDNN and cuRAND, on no device: memory is
   the host's, copies are copies, kernels do nothing and are counted, and anything fails when it is told to.

   Everything else that it links to is generated beside this and gives 0 (see __init__.py). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int status;

enum { OUT_OF_MEMORY = 2, CUBLAS_FAILED = 13, CUDNN_FAILED = 5000, ALIGNMENT = 512 };

/* Read and written by the tests. */
long standin_launches, standin_copies, standin_copied, standin_device_waits, standin_event_waits, standin_pinned;
long standin_largest = -1;  /* bytes that one allocation may have; -1 for any number */
long standin_launches_left = -1;  /* kernels until everything fails; -1 for never */
status standin_failure;  /* what everything then says */

static status now(void) { return standin_launches_left == 0 ? standin_failure : 0; }

static status launched(void) {
  standin_launches++;
  if (standin_launches_left > 0) standin_launches_left--;
  return now();
}

static status made(void **handle) {
  *handle = calloc(1, 64);
  return 0;
}

static status copied(void *to, const void *from, size_t size) {
  standin_copies++;
  standin_copied += size;
  memmove(to, from, size);
  return now();
}

/* The device: as a Hopper says of itself. */
typedef struct {
  char name[256], uuid[16], luid[8];
  unsigned mask;
  size_t memory, shared;
  int registers, warp;
  size_t pitch;
  int threads, dimensions[3], grid[3];
  size_t constant;
  int major, minor;
} properties;

status cudaGetDeviceCount(int *count) { *count = 1; return 0; }
status cudaGetDevice(int *device) { *device = 0; return 0; }
status cudaGetDeviceProperties(properties *p, int device) {
  memset(p, 0, 1000);
  strcpy(p->name, "stand-in");
  p->memory = 80ul << 30, p->shared = 49152, p->registers = 65536, p->warp = 32, p->pitch = 1u << 31, p->threads = 1024;
  p->dimensions[0] = p->dimensions[1] = 1024, p->dimensions[2] = 64;
  p->grid[0] = 2147483647, p->grid[1] = p->grid[2] = 65535;
  p->major = 9;
  return 0;
}
status cudaDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 10: *value = 32; break;      /* threads of a warp */
    case 16: *value = 132; break;     /* multiprocessors */
    case 39: *value = 2048; break;    /* threads of one */
    case 75: *value = 9; break;       /* compute capability */
    case 76: *value = 0; break;
    case 97: *value = 232448; break;  /* shared memory of a block, asked for */
    default: *value = 1024;
  }
  return 0;
}
status cudaDriverGetVersion(int *version) { *version = 13020; return 0; }
status cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }
status cudaMemGetInfo(size_t *available, size_t *all) { *available = 70ul << 30; *all = 80ul << 30; return 0; }

/* Memory. */
status cudaMalloc(void **address, size_t size) {
  if (standin_largest >= 0 && (long)size > standin_largest) return OUT_OF_MEMORY;
  size_t whole = (size / ALIGNMENT + 1) * ALIGNMENT;
  *address = aligned_alloc(ALIGNMENT, whole);
  memset(*address, 0, whole);
  return now();
}
status cudaHostAlloc(void **address, size_t size, unsigned flags) {
  standin_pinned++;
  *address = aligned_alloc(ALIGNMENT, (size / ALIGNMENT + 1) * ALIGNMENT);
  return now();
}
status cudaMallocHost(void **address, size_t size) { return cudaHostAlloc(address, size, 0); }
status cudaFree(void *address) { free(address); return now(); }
status cudaFreeHost(void *address) { free(address); return now(); }
status cudaMemcpy(void *to, const void *from, size_t size, int kind) { return copied(to, from, size); }
status cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) { return copied(to, from, size); }
status cudaMemset(void *to, int value, size_t size) { memset(to, value, size); return now(); }
status cudaMemsetAsync(void *to, int value, size_t size, void *stream) { memset(to, value, size); return now(); }

/* Streams and events: everything is done when it is asked for. */
status cudaStreamCreate(void **stream) { return made(stream); }
status cudaStreamCreateWithFlags(void **stream, unsigned flags) { return made(stream); }
status cudaEventCreate(void **event) { return made(event); }
status cudaEventCreateWithFlags(void **event, unsigned flags) { return made(event); }
status cudaStreamSynchronize(void *stream) { standin_device_waits++; return now(); }
status cudaDeviceSynchronize(void) { standin_device_waits++; return now(); }
status cudaEventSynchronize(void *event) { standin_event_waits++; return now(); }
status cudaLaunchHostFunc(void *stream, void (*function)(void *), void *data) { function(data); return now(); }
status cudaStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return 0; }

/* What went wrong. */
status cudaGetLastError(void) { return now(); }
status cudaPeekAtLastError(void) { return now(); }
const char *cudaGetErrorName(status code) { return code == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorIllegalAddress"; }
const char *cudaGetErrorString(status code) {
  return code == OUT_OF_MEMORY ? "out of memory" : "an illegal memory access was encountered";
}
const char *cudnnGetErrorString(status code) { return code ? "CUDNN_STATUS_EXECUTION_FAILED" : "CUDNN_STATUS_SUCCESS"; }

/* Kernels. */
void **__cudaRegisterFatBinary(void *binary) { static void *handle[8]; return handle; }
status __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return 0; }
status __cudaPopCallConfiguration(unsigned *grid, unsigned *block, size_t *shared, void **stream) {
  grid[0] = grid[1] = grid[2] = block[0] = block[1] = block[2] = 1;
  *shared = 0, *stream = 0;
  return 0;
}
status cudaLaunchKernel(void) { return launched(); }
status __cudaLaunchKernel(void) { return launched(); }
status cudaLaunchKernelExC(void) { return launched(); }
status cudaFuncGetAttributes(void *attributes, const void *function) { memset(attributes, 0, 64); return 0; }
status cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks) { *blocks = 2; return 0; }

/* cuBLAS. */
status cublasCreate_v2(void **handle) { return made(handle); }
status cublasLtCreate(void **handle) { return made(handle); }
status cublasGetMathMode(void *handle, int *mode) { *mode = 0; return 0; }
status cublasSgemm_v2(void) { return launched() ? CUBLAS_FAILED : 0; }
status cublasSgemmStridedBatched(void) { return launched() ? CUBLAS_FAILED : 0; }
status cublasGemmEx(void) { return launched() ? CUBLAS_FAILED : 0; }
status cublasLtMatmul(void) { return launched() ? CUBLAS_FAILED : 0; }
status cublasLtMatmulAlgoGetHeuristic(void *handle, void *operation, void *a, void *b, void *c, void *d, void *preference,
                                      int wanted, void *results, int *found) {
  *found = 1;
  return 0;
}

/* cuDNN, looked up by name when it is called: what recurrent layers and reductions take. */
size_t cudnnGetVersion(void) { return 92600; }
status cudnnCreate(void **handle) { return made(handle); }
status cudnnCreateTensorDescriptor(void **descriptor) { return made(descriptor); }
status cudnnCreateFilterDescriptor(void **descriptor) { return made(descriptor); }
status cudnnCreateDropoutDescriptor(void **descriptor) { return made(descriptor); }
status cudnnCreateRNNDescriptor(void **descriptor) { return made(descriptor); }
status cudnnCreateRNNDataDescriptor(void **descriptor) { return made(descriptor); }
status cudnnCreateReduceTensorDescriptor(void **descriptor) { return made(descriptor); }
status cudnnDropoutGetStatesSize(void *handle, size_t *size) { *size = 1024; return 0; }
status cudnnGetRNNTempSpaceSizes(void *handle, void *descriptor, int mode, void *data, size_t *work, size_t *reserve) {
  *work = 1 << 20;
  if (reserve) *reserve = 0;
  return 0;
}
status cudnnGetRNNWeightParams(void *handle, void *descriptor, int layer, size_t size, void *weights, int part,
                               void *matrix_descriptor, void **matrix, void *bias_descriptor, void **bias) {
  if (matrix) *matrix = weights;
  if (bias) *bias = weights;
  return 0;
}
status cudnnGetTensorNdDescriptor(void *descriptor, int wanted, int *type, int *count, int *sizes, int *strides) {
  *type = 0, *count = 3;
  for (int i = 0; i < 3; i++) sizes[i] = strides[i] = 1;
  return 0;
}
status cudnnGetReductionWorkspaceSize(void *handle, void *reduction, void *from, void *to, size_t *size) { *size = 1024; return 0; }
status cudnnGetReductionIndicesSize(void *handle, void *reduction, void *from, void *to, size_t *size) { *size = 1024; return 0; }
#define DOES_NOTHING(name) status name(void) { return 0; }
DOES_NOTHING(cudnnSetStream)
DOES_NOTHING(cudnnSetTensorNdDescriptor)
DOES_NOTHING(cudnnSetFilterNdDescriptor)
DOES_NOTHING(cudnnSetDropoutDescriptor)
DOES_NOTHING(cudnnSetRNNDescriptor_v8)
DOES_NOTHING(cudnnSetRNNDataDescriptor)
DOES_NOTHING(cudnnSetReduceTensorDescriptor)
DOES_NOTHING(cudnnDestroy)
DOES_NOTHING(cudnnDestroyTensorDescriptor)
DOES_NOTHING(cudnnDestroyFilterDescriptor)
DOES_NOTHING(cudnnDestroyDropoutDescriptor)
DOES_NOTHING(cudnnDestroyRNNDescriptor)
DOES_NOTHING(cudnnDestroyRNNDataDescriptor)
DOES_NOTHING(cudnnDestroyReduceTensorDescriptor)
status cudnnRNNForward(void) { return launched() ? CUDNN_FAILED : 0; }
status cudnnReduceTensor(void) { return launched() ? CUDNN_FAILED : 0; }
status cudnnSoftmaxForward(void) { return launched() ? CUDNN_FAILED : 0; }
