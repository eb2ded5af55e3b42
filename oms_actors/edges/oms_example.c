/* Submits orders and prints the reports, until each request has its final one.

       oms layout --c > oms.h && oms layout --c-example > example.c
       cc -O2 -o example example.c && ./example /dev/shm/oms-$(id -u)/default c-1 10 */

#include "oms.h"

#include <stdlib.h>

static int submit(struct oms_upstream *up, int number) {
    char id[37];
    snprintf(id, sizeof id, "C-%d-%d", getpid(), number);
    struct oms_request order =
        oms_new_order(id, "AAPL", number % 2 ? OMS_SIDE_BUY : OMS_SIDE_SELL, oms_fixed("100"), oms_fixed("585.33"));
    return oms_submit(up, &order, 1);
}

static int read_reports(struct oms_upstream *up) {
    static struct oms_report records[4096];
    int final = 0, count;
    while ((count = oms_peek(up, records, 4096)) > 0) {
        for (int i = 0; i < count; i++) {
            struct oms_report *report = &records[i];
            if (report->kind != OMS_KIND_REPORT || !oms_is_new(up, report))
                continue;
            printf("%c %.36s status %c filled %lld of %lld reason %u\n", report->exec_type, report->client_order_id,
                   report->ord_status, (long long)(report->cum_quantity / OMS_ONE),
                   (long long)(report->quantity / OMS_ONE), report->reason);
            final += !!(report->flags & OMS_REPORT_FLAG_FINAL);
        }
        oms_commit(up);
    }
    if (count < 0)
        fprintf(stderr, "reports: %s\n", oms_error(count));
    return count < 0 ? count : final;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: %s RUNTIME_DIR NAME COUNT\n", argv[0]);
        return 2;
    }
    struct oms_upstream up;
    int error = oms_attach(&up, argv[1], argv[2]);
    if (error) {
        fprintf(stderr, "attach: %s\n", oms_error(error));
        return 1;
    }
    int count = atoi(argv[3]), sent = 0, done = 0;
    while (done < count) {
        while (sent < count && (error = submit(&up, sent)) == 0)
            sent++;
        if (error && error != OMS_FULL) {
            fprintf(stderr, "submit: %s\n", oms_error(error));
            return 1;
        }
        if (!oms_wait(&up, 1000) && !oms_desk_runs(argv[1])) {
            fprintf(stderr, "%s\n", oms_error(OMS_NO_DESK));
            return 1;
        }
        int final = read_reports(&up);
        if (final < 0)
            return 1;
        done += final;
    }
    printf("%d requests, %d final reports\n", sent, done);
    oms_detach(&up);
    return 0;
}
