#include <math.h>
#include <stdint.h>

#if DOUBLE
typedef double real;
typedef uint64_t bits_t;
#define SQRT sqrt
#define EXP exp
#define LOG log
#define COS cos
#define TANH tanh
#define FABS fabs
#define POW pow
#define ATAN2 atan2
#else
typedef float real;
typedef uint32_t bits_t;
#define SQRT sqrtf
#define EXP expf
#define LOG logf
#define COS cosf
#define TANH tanhf
#define FABS fabsf
#define POW powf
#define ATAN2 atan2f
#endif

/* glibc has vector forms of these, which compilers take by themselves under -ffast-math only */
#if VECTOR_MATH && TRANSCENDENTAL
#pragma omp declare simd notinbranch
extern real EXP(real);
#pragma omp declare simd notinbranch
extern real LOG(real);
#pragma omp declare simd notinbranch
extern real COS(real);
#pragma omp declare simd notinbranch
extern real TANH(real);
#pragma omp declare simd notinbranch
extern real POW(real, real);
#if __GLIBC_PREREQ(2, 35)
#pragma omp declare simd notinbranch
extern real ATAN2(real, real);
#endif
#endif

/* a ? b : c without a branch: GCC leaves a loop scalar if it finds branches in it that depend on each other */
static inline real choose(int condition, real a, real b)
{
    bits_t x, y;
    const bits_t mask = -(bits_t)(condition != 0);
    __builtin_memcpy(&x, &a, sizeof x);
    __builtin_memcpy(&y, &b, sizeof y);
    x = (x & mask) | (y & ~mask);
    __builtin_memcpy(&a, &x, sizeof a);
    return a;
}

/* NaN if either is, as torch has it; fmin and fmax would drop it */
static inline real smaller(real a, real b) { return choose((a < b) | (a != a), a, b); }
static inline real larger(real a, real b) { return choose((a > b) | (a != a), a, b); }

/* from the nearer end, as torch has it */
#define LERP(a, b, w) LERP_FROM(FABS(w) < (real)0.5, a, b, choose(FABS(w) < (real)0.5, w, (w) - 1))
#define LERP_FROM(near_a, a, b, step) (choose(near_a, a, b) + (step) * ((b) - (a)))

#define LOAD_f64(a, i) ((real)((const double *)(a))[i])
#define STORE_f64(a, i, x) (((double *)(a))[i] = (double)(x))
#define LOAD_f32(a, i) ((real)((const float *)(a))[i])
#define STORE_f32(a, i, x) (((float *)(a))[i] = (float)(x))
#define LOAD_bf16(a, i) ((real)from_bits((uint32_t)((const uint16_t *)(a))[i] << 16))
#define STORE_bf16(a, i, x) (((uint16_t *)(a))[i] = to_bf16((float)(x)))
#if HALF /* not every compiler has the type */
#define LOAD_f16(a, i) ((real)((const _Float16 *)(a))[i])
#define STORE_f16(a, i, x) (((_Float16 *)(a))[i] = (_Float16)(x))
#endif

static inline float from_bits(uint32_t bits)
{
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t to_bits(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof x);
    return bits;
}

/* to the nearest, ties to even */
static inline uint16_t to_bf16(float x)
{
    const uint32_t bits = to_bits(x);
    return x != x ? (uint16_t)0x7fc0 : (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static inline float stochastic_bf16(float x, float draw)
{
    const uint32_t bits = (to_bits(x) + (uint32_t)(draw * 0x10000)) & 0xffff0000;
    return (to_bits(x) & 0x7f800000) == 0x7f800000 ? x : from_bits(bits);
}

/* rules.values.uniform */
static inline float uniform(uint64_t place, uint64_t seed, uint64_t salt)
{
    uint32_t x = (uint32_t)(place * 0x9e3779b9u + salt * 0x85ebca6bu + seed * 0xc2b2ae35u);
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return (float)((x ^ (x >> 16)) >> 16) / 0x10000;
}

/* pow(x, 1/3), whose vector form is slow: a guess from the exponent, then Halley's iteration */
static inline real cube_root(real x)
{
#if DOUBLE
    const real far = 0x1p600, back = 0x1p200, tiny = 0x1p-500, huge = 0x1p500;
#else
    const real far = 0x1p90, back = 0x1p30, tiny = 0x1p-60, huge = 0x1p60;
#endif
    const real scaled = x * choose(x < tiny, far, choose(x > huge, 1 / far, 1));
    bits_t bits;
    real y;
    __builtin_memcpy(&bits, &scaled, sizeof bits);
#if DOUBLE
    bits = (bits_t)((uint32_t)(bits >> 32) / 3 + 715094163u) << 32;
#else
    bits = bits / 3 + 709921077u;
#endif
    __builtin_memcpy(&y, &bits, sizeof y);
    for (int k = 0; k < 2 + DOUBLE; k++) {
        const real cube = y * y * y;
        y -= y * (cube - scaled) / (cube + cube + scaled);
    }
    y *= choose(x < tiny, 1 / back, choose(x > huge, back, 1));
    y = choose(x < (real)INFINITY, y, x);
    return choose(x == 0, 0, choose(x > 0, y, (real)NAN));
}
