/* A scripted libnvidia-ml.so.1 that any NVML client can load, for tests that need a process of its own.

   cc -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
   FAKE_NVML_SCENARIO=nvml_scenarios/p100.txt LD_LIBRARY_PATH=. python -c "import pynvml; ..."

   The scenario format is described in fake_nvml.py, which reads the same files. An absent value is "not
   supported". With FAKE_NVML_RELOAD=1 the file is read again at every call, so that a test can change the
   world while a client runs. Only what clients ask for is here; structures are those of nvml.h. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6,
       INSUFFICIENT_SIZE = 7, MISSING_FUNCTION = 13, VERSION_MISMATCH = 25 };
enum { MAX_CARDS = 16, MAX_SLICES = 8, MAX_VALUES = 2048, MAX_LINE = 1024, MAX_PROCESSES = 64 };

typedef unsigned int u32;
typedef unsigned long long u64;
typedef struct { int card, slice, calls; } Device; /* slice is -1 for a whole card */

static Device cards[MAX_CARDS], slices[MAX_CARDS][MAX_SLICES];
static char *keys[MAX_VALUES], *values[MAX_VALUES];
static int num_values, num_sessions;

/* ---- the scenario ------------------------------------------------------------------------------ */

static void unescape(char *text) {
    char *out = text;
    for (u32 byte; *text; text++) {
        if (sscanf(text, "\\x%2x", &byte) == 1) { *out++ = (char)byte; text += 3; }
        else *out++ = *text;
    }
    *out = 0;
}

static void load_scenario(void) {
    const char *path = getenv("FAKE_NVML_SCENARIO");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[MAX_LINE];
    while (num_values) { num_values--; free(keys[num_values]); free(values[num_values]); }
    while (file && num_values < MAX_VALUES && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        char *equals = strchr(line, '=');
        if (line[0] == '#' || !equals) continue;
        *equals = 0;
        unescape(equals + 1);
        keys[num_values] = strdup(line);
        values[num_values++] = strdup(equals + 1);
    }
    if (file) fclose(file);
}

static const char *system_value(const char *key) {
    for (int k = 0; k < num_values; k++) if (!strcmp(keys[k], key)) return values[k];
    return NULL;
}

static const char *device_value(const Device *device, const char *name) {
    char key[MAX_LINE];
    const char *found = NULL;
    if (device->slice >= 0) {
        snprintf(key, sizeof key, "%d.mig%d.%s", device->card, device->slice, name);
        found = system_value(key);
    }
    if (found) return found;
    snprintf(key, sizeof key, "%d.%s", device->card, name);
    return system_value(key);
}

static u64 number(const Device *device, const char *name, u64 otherwise) {
    const char *found = device_value(device, name);
    return found ? strtoull(found, NULL, 0) : otherwise;
}

static int is_missing(const char *function) {
    const char *list = system_value("missing");
    for (size_t length = strlen(function); list && *list; list = strchr(list, ',') ? strchr(list, ',') + 1 : NULL)
        if (!strncmp(list, function, length) && (list[length] == ',' || !list[length])) return 1;
    return 0;
}

/* The code that the scenario gives to this call, else success. */
static int scripted(Device *device, const char *function) {
    char key[MAX_LINE];
    if (getenv("FAKE_NVML_RELOAD")) load_scenario();
    if (!num_sessions) return UNINITIALIZED;
    if (!device) return INVALID_ARGUMENT;
    if (is_missing(function)) return MISSING_FUNCTION;
    cards[device->card].calls++;
    snprintf(key, sizeof key, "err.%s", function);
    const char *code = device_value(device, key);
    if (!code) code = device_value(device, "err.*");
    if (!code) return SUCCESS;
    const char *from = strchr(code, '@');
    return from && cards[device->card].calls < atoi(from + 1) ? SUCCESS : atoi(code);
}

static int copy_text(char *out, u32 length, const char *text) {
    if (!text) return NOT_SUPPORTED;
    if (length) { strncpy(out, text, length - 1); out[length - 1] = 0; }
    return SUCCESS;
}

#define DEVICE(function) \
    Device *device = handle; \
    int code = scripted(device, #function); \
    if (code) return code

/* ---- the system -------------------------------------------------------------------------------- */

int nvmlInit_v2(void) {
    load_scenario();
    const char *code = system_value("err.init");
    if (code) return atoi(code);
    for (int card = 0; card < MAX_CARDS; card++) {
        cards[card] = (Device){card, -1, 0};
        for (int slice = 0; slice < MAX_SLICES; slice++) slices[card][slice] = (Device){card, slice, 0};
    }
    num_sessions++;
    return SUCCESS;
}
int nvmlInit(void) { return nvmlInit_v2(); }
int nvmlInitWithFlags(u32 flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { if (num_sessions) num_sessions--; return SUCCESS; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case NOT_SUPPORTED: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 9: return "Driver Not Loaded";
    case MISSING_FUNCTION: return "Function Not Found";
    case 15: return "GPU is lost";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

int nvmlSystemGetDriverVersion(char *out, u32 length) {
    return num_sessions ? copy_text(out, length, system_value("driver")) : UNINITIALIZED;
}
int nvmlSystemGetNVMLVersion(char *out, u32 length) { return copy_text(out, length, "13.580.95.05"); }
int nvmlSystemGetCudaDriverVersion(int *out) {
    if (!system_value("cuda")) return NOT_SUPPORTED;
    *out = atoi(system_value("cuda"));
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion_v2(int *out) { return nvmlSystemGetCudaDriverVersion(out); }
int nvmlSystemGetProcessName(u32 pid, char *out, u32 length) {
    char key[64];
    snprintf(key, sizeof key, "proc.%u", pid);
    return system_value(key) ? copy_text(out, length, system_value(key)) : NOT_FOUND;
}

/* ---- handles ----------------------------------------------------------------------------------- */

static int num_cards(void) { return system_value("count") ? atoi(system_value("count")) : 0; }

int nvmlDeviceGetCount_v2(u32 *out) {
    if (!num_sessions) return UNINITIALIZED;
    *out = (u32)num_cards();
    return SUCCESS;
}
int nvmlDeviceGetCount(u32 *out) { return nvmlDeviceGetCount_v2(out); }
int nvmlDeviceGetHandleByIndex_v2(u32 index, void **out) {
    if ((int)index >= num_cards()) return INVALID_ARGUMENT;
    *out = &cards[index];
    return scripted(*out, "nvmlDeviceGetHandleByIndex");
}
int nvmlDeviceGetHandleByIndex(u32 index, void **out) { return nvmlDeviceGetHandleByIndex_v2(index, out); }

static int handle_by(const char *name, const char *text, void **out) {
    for (int card = 0; card < num_cards(); card++) {
        const char *own = device_value(&cards[card], name);
        if (own && !strcmp(own, text)) { *out = &cards[card]; return SUCCESS; }
        for (u64 slice = 0; slice < number(&cards[card], "mig.count", 0); slice++) {
            own = device_value(&slices[card][slice], name);
            if (own && !strcmp(own, text)) { *out = &slices[card][slice]; return SUCCESS; }
        }
    }
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **out) { return handle_by("uuid", uuid, out); }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **out) { return handle_by("bus", bus, out); }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, u32 index, void **out) {
    DEVICE(nvmlDeviceGetMigDeviceHandleByIndex);
    if (index >= number(device, "mig.count", 0) || index >= MAX_SLICES) return NOT_FOUND;
    *out = &slices[device->card][index];
    return SUCCESS;
}
int nvmlDeviceIsMigDeviceHandle(void *handle, u32 *out) { *out = ((Device *)handle)->slice >= 0; return SUCCESS; }
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **out) {
    *out = &cards[((Device *)handle)->card];
    return SUCCESS;
}
int nvmlDeviceGetGpuInstanceId(void *handle, u32 *out) { *out = (u32)((Device *)handle)->slice + 1; return SUCCESS; }
int nvmlDeviceGetComputeInstanceId(void *handle, u32 *out) { (void)handle; *out = 0; return SUCCESS; }

/* ---- one card ---------------------------------------------------------------------------------- */

#define TEXT(function, name) \
    int function(void *handle, char *out, u32 length) { \
        DEVICE(function); return copy_text(out, length, device_value(device, name)); }
TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")

#define NUMBER(function, name) \
    int function(void *handle, u32 *out) { \
        DEVICE(function); \
        if (!device_value(device, name)) return NOT_SUPPORTED; \
        *out = (u32)number(device, name, 0); return SUCCESS; }
NUMBER(nvmlDeviceGetPowerUsage, "power.mw")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "power.limit")
NUMBER(nvmlDeviceGetPowerManagementLimit, "power.limit")
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, "power.default")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.gen")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.maxgen")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie.maxwidth")
NUMBER(nvmlDeviceGetPersistenceMode, "persistence")
NUMBER(nvmlDeviceGetDisplayActive, "display.active")
NUMBER(nvmlDeviceGetDisplayMode, "display.active")
NUMBER(nvmlDeviceGetComputeMode, "compute.mode")
NUMBER(nvmlDeviceGetPerformanceState, "pstate")
NUMBER(nvmlDeviceGetFanSpeed, "fan")
NUMBER(nvmlDeviceGetNumGpuCores, "cores")
NUMBER(nvmlDeviceGetMemoryBusWidth, "buswidth")
NUMBER(nvmlDeviceGetMaxMigDeviceCount, "mig.max")
NUMBER(nvmlDeviceGetArchitecture, "arch")
NUMBER(nvmlDeviceGetBrand, "brand")

#define PAIR(function, name) \
    int function(void *handle, u32 *now, u32 *pending) { \
        DEVICE(function); \
        if (!device_value(device, name)) return NOT_SUPPORTED; \
        *now = *pending = (u32)number(device, name, 0); return SUCCESS; }
PAIR(nvmlDeviceGetEccMode, "ecc")
PAIR(nvmlDeviceGetMigMode, "mig")
PAIR(nvmlDeviceGetDriverModel_v2, "model")
PAIR(nvmlDeviceGetEncoderUtilization, "util.enc")
PAIR(nvmlDeviceGetDecoderUtilization, "util.dec")

int nvmlDeviceGetIndex(void *handle, u32 *out) { DEVICE(nvmlDeviceGetIndex); *out = (u32)device->card; return SUCCESS; }

int nvmlDeviceGetTotalEccErrors(void *handle, u32 kind, u32 since, u64 *out) {
    (void)kind; (void)since;
    DEVICE(nvmlDeviceGetTotalEccErrors);
    if (!device_value(device, "ecc.errors")) return NOT_SUPPORTED;
    *out = number(device, "ecc.errors", 0);
    return SUCCESS;
}

typedef struct { char legacy[16]; u32 domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
int nvmlDeviceGetPciInfo_v3(void *handle, Pci *out) {
    DEVICE(nvmlDeviceGetPciInfo_v3);
    const char *bus = device_value(device, "bus") ? device_value(device, "bus") : "00000000:01:00.0";
    memset(out, 0, sizeof *out);
    copy_text(out->bus_id, sizeof out->bus_id, bus);
    copy_text(out->legacy, sizeof out->legacy, bus + 4);
    sscanf(bus, "%x:%x:%x", &out->domain, &out->bus, &out->device);
    return SUCCESS;
}

typedef struct { u64 total, free, used; } Memory;
typedef struct { u32 version; u64 total, reserved, free, used; } MemoryV2;
int nvmlDeviceGetMemoryInfo(void *handle, Memory *out) {
    DEVICE(nvmlDeviceGetMemoryInfo);
    if (!device_value(device, "mem.total")) return NOT_SUPPORTED;
    out->total = number(device, "mem.total", 0);
    out->used = number(device, "mem.used", 0) + number(device, "mem.reserved", 0);
    out->free = out->total - out->used;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo_v2(void *handle, MemoryV2 *out) {
    DEVICE(nvmlDeviceGetMemoryInfo_v2);
    if (out->version != 0x02000028) return VERSION_MISMATCH;
    if (!device_value(device, "mem.total")) return NOT_SUPPORTED;
    out->total = number(device, "mem.total", 0);
    out->reserved = number(device, "mem.reserved", 0);
    out->used = number(device, "mem.used", 0) + out->reserved;
    out->free = out->total - out->used;
    return SUCCESS;
}

typedef struct { u32 gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(void *handle, Utilization *out) {
    DEVICE(nvmlDeviceGetUtilizationRates);
    if (!device_value(device, "util.gpu")) return NOT_SUPPORTED;
    *out = (Utilization){(u32)number(device, "util.gpu", 0), (u32)number(device, "util.mem", 0)};
    return SUCCESS;
}

typedef struct { u32 version, sensor; int degrees; } Temperature;
int nvmlDeviceGetTemperatureV(void *handle, Temperature *out) {
    DEVICE(nvmlDeviceGetTemperatureV);
    if (!device_value(device, "temp")) return NOT_SUPPORTED;
    out->degrees = (int)number(device, "temp", 0);
    return SUCCESS;
}
int nvmlDeviceGetTemperature(void *handle, u32 sensor, u32 *out) {
    (void)sensor;
    DEVICE(nvmlDeviceGetTemperature);
    if (!device_value(device, "temp")) return NOT_SUPPORTED;
    *out = (u32)number(device, "temp", 0);
    return SUCCESS;
}

static int clock_of(const Device *device, const char *prefix, u32 kind, u32 *out) {
    static const char *const kinds[] = {"gr", "sm", "mem", "vid"};
    char name[16];
    if (kind > 3) return INVALID_ARGUMENT;
    snprintf(name, sizeof name, "%s.%s", prefix, kinds[kind]);
    if (!device_value(device, name)) return NOT_SUPPORTED;
    *out = (u32)number(device, name, 0);
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(void *handle, u32 kind, u32 *out) {
    DEVICE(nvmlDeviceGetClockInfo);
    return clock_of(device, "clk", kind, out);
}
int nvmlDeviceGetMaxClockInfo(void *handle, u32 kind, u32 *out) {
    DEVICE(nvmlDeviceGetMaxClockInfo);
    return clock_of(device, "max", kind, out);
}

#define REASONS(function) \
    int function(void *handle, u64 *out) { \
        DEVICE(function); \
        if (!device_value(device, "reasons")) return NOT_SUPPORTED; \
        *out = number(device, "reasons", 0); return SUCCESS; }
REASONS(nvmlDeviceGetCurrentClocksEventReasons)
REASONS(nvmlDeviceGetCurrentClocksThrottleReasons)

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    DEVICE(nvmlDeviceGetCudaComputeCapability);
    const char *text = device_value(device, "cc");
    return text && sscanf(text, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_SUPPORTED;
}

/* Energy since "boot": the power of the scenario over the monotonic clock; Pascal has no counter. */
int nvmlDeviceGetTotalEnergyConsumption(void *handle, u64 *out) {
    DEVICE(nvmlDeviceGetTotalEnergyConsumption);
    const char *capability = device_value(device, "cc");
    struct timespec now;
    if (!device_value(device, "power.mw") || device->slice >= 0 || (capability && atoi(capability) < 7))
        return NOT_SUPPORTED;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *out = (u64)((double)number(device, "power.mw", 0) * ((double)now.tv_sec + (double)now.tv_nsec / 1e9));
    return SUCCESS;
}

typedef struct { u32 id, scope; long long when, latency; u32 type; int code; u64 value; } Field;
enum { UNSIGNED_LONG_LONG = 3 };
int nvmlDeviceGetFieldValues(void *handle, int count, Field *fields) {
    DEVICE(nvmlDeviceGetFieldValues);
    for (int k = 0; k < count; k++) {
        char name[32];
        snprintf(name, sizeof name, "field.%u", fields[k].id);
        fields[k].code = device_value(device, name) ? SUCCESS : NOT_SUPPORTED;
        fields[k].type = UNSIGNED_LONG_LONG;
        fields[k].value = number(device, name, 0);
    }
    return SUCCESS;
}

int nvmlDeviceGetBAR1MemoryInfo(void *handle, Memory *out) {
    DEVICE(nvmlDeviceGetBAR1MemoryInfo);
    if (!device_value(device, "bar1.total")) return NOT_SUPPORTED;
    out->total = number(device, "bar1.total", 0);
    out->used = number(device, "bar1.used", 0);
    out->free = out->total - out->used;
    return SUCCESS;
}

typedef struct { u32 pid; u64 memory; u32 gpu_instance, compute_instance; } Process;
static int processes(const Device *device, const char *name, u32 *count, Process *out) {
    const char *text = device_value(device, name);
    Process found[MAX_PROCESSES];
    u32 length = 0;
    if (!text) return NOT_SUPPORTED;
    for (char *end; *text && length < MAX_PROCESSES; length++) {
        u32 pid = (u32)strtoul(text, &end, 10);
        u64 memory = end[0] == ':' && end[1] != '?' ? strtoull(end + 1, &end, 10) : ~0ULL;
        found[length] = (Process){pid, memory, ~0U, ~0U};
        text = strchr(end, ',') ? strchr(end, ',') + 1 : "";
    }
    int fits = *count >= length;
    *count = length;
    if (length && (!fits || !out)) return INSUFFICIENT_SIZE;
    if (length) memcpy(out, found, length * sizeof *found);
    return SUCCESS;
}
#define PROCESSES(function, name) \
    int function(void *handle, u32 *count, Process *out) { DEVICE(function); return processes(device, name, count, out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "procs.c")
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "procs.c")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "procs.g")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "procs.g")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "procs.m")

typedef struct { u32 pid; u64 when; u32 sm, memory, encoder, decoder; } Share;
int nvmlDeviceGetProcessUtilization(void *handle, Share *out, u32 *count, u64 since) {
    (void)since;
    DEVICE(nvmlDeviceGetProcessUtilization);
    const char *text = device_value(device, "procs.util");
    Share found = {0, 1, 0, 0, 0, 0};
    if (!text || sscanf(text, "%u:%u:%u", &found.pid, &found.sm, &found.memory) != 3) return NOT_SUPPORTED;
    int fits = out && *count;
    *count = 1;
    if (!fits) return INSUFFICIENT_SIZE;
    *out = found;
    return SUCCESS;
}

/* Functions that clients expect to find, and that cards here do not support. */
#define UNSUPPORTED(function) int function(void *handle) { (void)handle; return NOT_SUPPORTED; }
UNSUPPORTED(nvmlDeviceGetRunningProcessDetailList) /* its presence says which layout process lists have */
UNSUPPORTED(nvmlDeviceGetPcieThroughput)
UNSUPPORTED(nvmlDeviceGetAttributes_v2)
UNSUPPORTED(nvmlDeviceGetVirtualizationMode)
UNSUPPORTED(nvmlDeviceGetConfComputeMemSizeInfo)
UNSUPPORTED(nvmlDeviceGetPowerManagementLimitConstraints)
