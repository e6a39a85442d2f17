// The inner loop of dynamics.workers in C: each trajectory goes from its start to its end in one lane of a vector.
//
// dynamics.native puts the statements of one system in the place of BEGIN, ADVANCE, ENCLOSE, NARROW and SETTLE, and
// defines REAL, WHOLE (the integer of its size), WIDTH (rows of the state), FIXED, LOCATIONS and SETS (of vectors).

#include <math.h>
#include <tgmath.h>

enum { EACH = 64 / sizeof(REAL), LANES = SETS * EACH };
enum { ROWS = 2 * WIDTH + 4, BRACKET = WIDTH + 6, OUT = WIDTH + 3, REASON = WIDTH + 2 };
typedef REAL V __attribute__((vector_size(64)));
typedef WHOLE M __attribute__((vector_size(64)));
typedef V Block[SETS][ROWS], Fixed[SETS][FIXED], Limits[1][5], Bracket[SETS][BRACKET], End[SETS][OUT];

#define AT(rows, row, lane) (rows)[(lane) / EACH][row][(lane) % EACH]
#define all(x) ((REAL)(x) - (V){0})
#define inline static inline __attribute__((always_inline))

inline V pick(M where, V x, V y) { return (V)(((M)x & where) | ((M)y & ~where)); }

inline V size(V x) { return (V)((M)x & ~(M)all(-0.0)); }

inline V root(V x) {
  V y;
  for (int i = 0; i < EACH; i++) y[i] = sqrt(x[i]);
  return y;
}

inline V power(V x, V e) {
  for (int i = 0; i < EACH; i++) x[i] = pow(x[i], e[i]);
  return x;
}

#define each(f, x) ({ V x_ = x; for (int i = 0; i < EACH; i++) x_[i] = f(x_[i]); x_; })
#define each2(f, x, y) ({ V x_ = x, y_ = y; for (int i = 0; i < EACH; i++) x_[i] = f(x_[i], y_[i]); x_; })

static void begin(Block block, const Fixed fixed, const Limits limits) { BEGIN }

static void advance(Block block, const Fixed fixed, const Limits limits) { ADVANCE }

static void locate(const Block block, const Fixed fixed, const Limits limits, End out) {
  Bracket bracket;
  { ENCLOSE }
  for (int i = 0; i < LOCATIONS; i++) { NARROW }
  SETTLE
}

typedef struct { // columns in the lanes of vectors
  Block block;
  Fixed fixed;
  long number[LANES];
  int count;
} Columns;

static void move(Columns *to, int into, const Columns *from, int lane) {
  for (int r = 0; r < ROWS; r++) AT(to->block, r, into) = AT(from->block, r, lane);
  for (int r = 0; r < FIXED; r++) AT(to->fixed, r, into) = AT(from->fixed, r, lane);
  to->number[into] = from->number[lane];
}

// What is to be done: the starts first to last of total. rows: their state and what is fixed along a trajectory, each
// with the distance between its values; out: (OUT, total).
typedef struct {
  long first, last, total;
  const REAL *const *rows;
  const long *strides;
  REAL *out;
} Job;

static void draw(Columns *fresh, Job *job, const Limits limits) {
  for (int lane = 0; lane < LANES && job->first < job->last; lane++, fresh->count++) {
    const long n = job->first++;
    for (int r = 0; r < WIDTH; r++) AT(fresh->block, r, lane) = job->rows[r][n * job->strides[r]];
    for (int r = 0; r < FIXED; r++) AT(fresh->fixed, r, lane) = job->rows[WIDTH + r][n * job->strides[WIDTH + r]];
    fresh->number[lane] = n;
  }
  begin(fresh->block, fresh->fixed, limits);
}

static void hand_in(Columns *ended, const Job *job, const Limits limits) {
  End end;
  locate(ended->block, ended->fixed, limits, end);
  for (int lane = 0; lane < ended->count; lane++)
    for (int r = 0; r < OUT; r++) job->out[r * job->total + ended->number[lane]] = AT(end, r, lane);
  ended->count = 0;
}

void run(Job *job, const REAL *given, const volatile int *stopped) {
  Limits limits;
  Columns fresh = {0}, running = {0}, ended = {0};
  for (int i = 0; i < 5; i++) limits[0][i] = all(given[i]);
  for (int lane = 0; lane < LANES; lane++) running.number[lane] = -1;
  for (int open = 1; open && !*stopped;) {
    open = 0;
    for (int lane = 0; lane < LANES; lane++) {
      if (running.number[lane] >= 0 && AT(running.block, REASON, lane) != 0) {
        move(&ended, ended.count++, &running, lane);
        running.number[lane] = -1;
        if (ended.count == LANES) hand_in(&ended, job, limits);
      }
      if (running.number[lane] < 0) {
        if (!fresh.count && job->first < job->last) draw(&fresh, job, limits);
        if (fresh.count) move(&running, lane, &fresh, --fresh.count);
      }
      open += running.number[lane] >= 0;
    }
    advance(running.block, running.fixed, limits);
  }
  hand_in(&ended, job, limits);
}
