/* What every program has in common: tasks, threads, and the order of sweeps and stages.
 *
 * Before it stand `real`, N_BUFFERS, N_REDUCTIONS, N_VALUES, N_SWEEPS; after it the program's own functions.
 * A task is a run of chunks: whole tensors of one chunk each, or one chunk of a large tensor. Whoever is free takes
 * the next one. Sums are kept by chunk and added in order, so results do not depend on the number of threads.
 */
typedef struct {
    int64_t tensor, start, stop; /* elements, or rows where a sweep goes by rows */
} chunk_t;

typedef struct {
    int64_t first, last; /* chunks */
} task_t;

typedef struct {
    const chunk_t *chunks;
    const task_t *tasks;
    const int64_t *of_tensor; /* first chunk of each tensor, and one more */
    const int64_t *sizes;     /* elements of each tensor */
    const int64_t *widths;    /* elements of a row of each tensor */
    const int64_t *runs;      /* elements of a row that lie together; all of them, but for transposed tensors */
    const int64_t *batches;   /* first large tensor of each batch, and one more */
    int64_t tensors, small, tasks_large, tasks_all, n_batches;
    void *const *const *buffers; /* for each buffer the addresses for each tensor */
    const double *scalars;
    double *partials; /* [chunk][reduction] */
    double *values;   /* [tensor][value], what each tensor has on level TENSOR */
    double *totals;   /* result */
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
    int64_t threads;
} call_t;

typedef void (*sweep_t)(const call_t *, const chunk_t *, double *);
typedef void (*stage_t)(const call_t *, int64_t);

static const sweep_t sweeps[];
static const stage_t stages[];
static void add_up(const call_t *);

typedef struct {
    const call_t *call;
    int64_t next, last, sweep;
} share_t;

static void do_sweep(const call_t *c, int64_t sweep, int64_t chunk)
{
    sweeps[sweep](c, c->chunks + chunk, c->partials + chunk * N_REDUCTIONS);
}

static void work(void *argument)
{
    share_t *s = argument;
    const call_t *c = s->call;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED);
        if (i >= s->last)
            return;
        const task_t task = c->tasks[i];
        if (s->sweep >= 0 && i < c->tasks_large) {
            do_sweep(c, s->sweep, task.first);
            continue;
        }
        for (int64_t chunk = task.first; chunk < task.last; chunk++) {
            const int64_t tensor = c->chunks[chunk].tensor;
            stages[0](c, tensor);
            for (int64_t k = 0; k < N_SWEEPS; k++) {
                do_sweep(c, k, chunk);
                stages[k + 1](c, tensor);
            }
        }
    }
}

static void share(const call_t *c, int64_t first, int64_t last, int64_t sweep)
{
    share_t s = {c, first, last, sweep};
    int64_t threads = c->threads < last - first ? c->threads : last - first;
    if (threads > 1 && c->parallel)
        c->parallel(work, &s, (unsigned)threads, 0);
    else
        work(&s);
}

static void stage(const call_t *c, int64_t number, int64_t first, int64_t last)
{
    for (int64_t t = first; t < last; t++)
        stages[number](c, t);
}

void run(const call_t *c)
{
    /* Large tensors come first, in tensors, chunks and tasks alike. */
    const int64_t large = c->tensors - c->small;
    if (N_SWEEPS == 0) {
        stage(c, 0, 0, c->tensors);
    } else if (N_SWEEPS == 1) {
        stage(c, 0, 0, large);
        share(c, 0, c->tasks_all, 0);
        stage(c, 1, 0, large);
    } else {
        share(c, c->tasks_large, c->tasks_all, -1);
        for (int64_t b = 0; b < c->n_batches; b++) {
            const int64_t first = c->batches[b], last = c->batches[b + 1];
            stage(c, 0, first, last);
            for (int64_t k = 0; k < N_SWEEPS; k++) {
                share(c, c->of_tensor[first], c->of_tensor[last], k);
                stage(c, k + 1, first, last);
            }
        }
    }
    add_up(c);
}
