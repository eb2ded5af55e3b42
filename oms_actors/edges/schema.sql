-- Generated from schema.py: python -m oms_actors.edges.schema
CREATE TABLE changes (
    sequence INTEGER NOT NULL,
    kind INTEGER,
    client_order_id TEXT,
    orig_client_order_id TEXT,
    account TEXT,
    symbol TEXT,
    upstream INTEGER,
    side INTEGER,
    flags INTEGER,
    quantity INTEGER,
    price INTEGER,
    stop_price INTEGER,
    receive_time_ns INTEGER,
    reason INTEGER,
    field INTEGER,
    value INTEGER,
    limit_value INTEGER,
    PRIMARY KEY (sequence)
);
CREATE TABLE desk (
    order_id_prefix TEXT NOT NULL,
    PRIMARY KEY (order_id_prefix)
);
CREATE TABLE executions (
    sequence INTEGER NOT NULL,
    order_number INTEGER,
    exec_id TEXT,
    quantity INTEGER,
    price INTEGER,
    flags INTEGER,
    latency_ns INTEGER,
    time_ns INTEGER,
    text TEXT,
    PRIMARY KEY (sequence)
);
CREATE TABLE matches (
    sequence INTEGER NOT NULL,
    time_ns INTEGER,
    buy_order_number INTEGER,
    sell_order_number INTEGER,
    symbol TEXT,
    quantity INTEGER,
    price INTEGER,
    PRIMARY KEY (sequence)
);
CREATE TABLE new_orders (
    order_number INTEGER NOT NULL,
    client_order_id TEXT,
    account TEXT,
    symbol TEXT,
    upstream INTEGER,
    side INTEGER,
    order_type INTEGER,
    time_in_force INTEGER,
    flags INTEGER,
    quantity INTEGER,
    price INTEGER,
    stop_price INTEGER,
    expire_time_ns INTEGER,
    receive_time_ns INTEGER,
    PRIMARY KEY (order_number)
);
CREATE TABLE order_states (
    order_number INTEGER NOT NULL,
    ord_status INTEGER,
    cum_quantity INTEGER,
    avg_price INTEGER,
    update_time_ns INTEGER,
    current_client_order_id TEXT,
    current_quantity INTEGER,
    current_price INTEGER,
    reason INTEGER,
    field INTEGER,
    value INTEGER,
    limit_value INTEGER,
    text TEXT,
    PRIMARY KEY (order_number)
);
CREATE TABLE own_cancels (
    sequence INTEGER NOT NULL,
    client_order_id TEXT,
    orig_client_order_id TEXT,
    account TEXT,
    time_ns INTEGER,
    PRIMARY KEY (sequence)
);
CREATE TABLE positions (
    journal TEXT NOT NULL,
    generation INTEGER,
    byte_offset INTEGER,
    sequence INTEGER,
    PRIMARY KEY (journal)
);
CREATE TABLE raw (
    origin TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    upstream INTEGER,
    time_ns INTEGER,
    data BLOB,
    reason INTEGER,
    field INTEGER,
    value INTEGER,
    limit_value INTEGER,
    PRIMARY KEY (origin, sequence)
);
CREATE TABLE reports (
    sequence INTEGER NOT NULL,
    order_number INTEGER,
    exec_type INTEGER,
    response_type INTEGER,
    flags INTEGER,
    latency_ns INTEGER,
    time_ns INTEGER,
    ord_status INTEGER,
    kind INTEGER,
    client_order_id TEXT,
    orig_client_order_id TEXT,
    account TEXT,
    upstream INTEGER,
    quantity INTEGER,
    price INTEGER,
    exec_id TEXT,
    reason INTEGER,
    field INTEGER,
    value INTEGER,
    limit_value INTEGER,
    text TEXT,
    PRIMARY KEY (sequence)
);
CREATE TABLE sends (
    sequence INTEGER NOT NULL,
    order_number INTEGER,
    kind INTEGER,
    client_order_id TEXT,
    time_ns INTEGER,
    outcome INTEGER,
    call_duration_ns INTEGER,
    PRIMARY KEY (sequence)
);
CREATE TABLE sessions (
    sequence INTEGER NOT NULL,
    event INTEGER,
    reason INTEGER,
    time_ns INTEGER,
    open_ns INTEGER,
    close_ns INTEGER,
    trade_date INTEGER,
    text TEXT,
    PRIMARY KEY (sequence)
);
CREATE TABLE upstreams (
    number INTEGER NOT NULL,
    name TEXT,
    PRIMARY KEY (number)
);
CREATE VIEW orders AS
SELECT n.*, COALESCE(s.ord_status, 65) AS ord_status, COALESCE(s.cum_quantity, 0) AS cum_quantity, COALESCE(s.avg_price, 0) AS avg_price, COALESCE(s.update_time_ns, 0) AS update_time_ns, COALESCE(s.current_client_order_id, n.client_order_id) AS current_client_order_id, COALESCE(s.current_quantity, n.quantity) AS current_quantity, COALESCE(s.current_price, n.price) AS current_price, s.reason, s.field, s.value, s.limit_value, s.text FROM new_orders n LEFT JOIN order_states s USING (order_number);
CREATE VIEW requests AS
SELECT order_number AS sequence, 1 AS kind, client_order_id, NULL AS orig_client_order_id, account, symbol, upstream, side, flags, quantity, price, stop_price, receive_time_ns, reason, field, value, limit_value FROM orders UNION ALL SELECT sequence, kind, client_order_id, orig_client_order_id, account, symbol, upstream, side, flags, quantity, price, stop_price, receive_time_ns, reason, field, value, limit_value FROM changes;
CREATE VIEW responses AS
SELECT r.sequence, r.order_number, r.response_type, COALESCE(r.client_order_id, o.client_order_id) AS client_order_id, r.latency_ns, r.time_ns, r.text FROM reports r LEFT JOIN new_orders o USING (order_number) WHERE r.response_type > 0 UNION ALL SELECT e.sequence, e.order_number, 7, o.client_order_id, e.latency_ns, e.time_ns, e.text FROM executions e LEFT JOIN new_orders o USING (order_number) WHERE e.flags & 8;
CREATE VIEW v_orders AS
SELECT o.order_number, (SELECT order_id_prefix FROM desk) || printf('%012x', o.order_number) AS order_id, o.current_client_order_id AS client_order_id, o.account, u.name AS upstream, o.symbol, CASE o.side WHEN 1 THEN 'BUY' WHEN 2 THEN 'SELL' END AS side, CASE o.order_type WHEN 1 THEN 'MARKET' WHEN 2 THEN 'LIMIT' WHEN 3 THEN 'STOP' WHEN 4 THEN 'STOP_LIMIT' END AS order_type, CASE o.time_in_force WHEN 0 THEN 'DAY' WHEN 1 THEN 'GTC' WHEN 3 THEN 'IOC' WHEN 4 THEN 'FOK' WHEN 6 THEN 'GTD' END AS time_in_force, rtrim(rtrim(printf('%s%d.%08d', iif(o.current_quantity < 0, '-', ''), abs(o.current_quantity / 100000000), abs(o.current_quantity % 100000000)), '0'), '.') AS quantity, rtrim(rtrim(printf('%s%d.%08d', iif(o.current_price < 0, '-', ''), abs(o.current_price / 100000000), abs(o.current_price % 100000000)), '0'), '.') AS price, CASE o.ord_status WHEN 0 THEN 'NONE' WHEN 48 THEN 'NEW' WHEN 49 THEN 'PARTIALLY_FILLED' WHEN 50 THEN 'FILLED' WHEN 52 THEN 'CANCELED' WHEN 54 THEN 'PENDING_CANCEL' WHEN 56 THEN 'REJECTED' WHEN 65 THEN 'PENDING_NEW' WHEN 67 THEN 'EXPIRED' WHEN 69 THEN 'PENDING_REPLACE' WHEN 63 THEN 'IN_DOUBT' WHEN 33 THEN 'DONE_UNKNOWN' END AS status, rtrim(rtrim(printf('%s%d.%08d', iif(o.cum_quantity < 0, '-', ''), abs(o.cum_quantity / 100000000), abs(o.cum_quantity % 100000000)), '0'), '.') AS cum_quantity, rtrim(rtrim(printf('%s%d.%08d', iif(o.avg_price < 0, '-', ''), abs(o.avg_price / 100000000), abs(o.avg_price % 100000000)), '0'), '.') AS avg_price, CASE WHEN o.ord_status IN (50, 52, 56, 67, 33) THEN '0' ELSE rtrim(rtrim(printf('%s%d.%08d', iif(max(o.current_quantity - o.cum_quantity, 0) < 0, '-', ''), abs(max(o.current_quantity - o.cum_quantity, 0) / 100000000), abs(max(o.current_quantity - o.cum_quantity, 0) % 100000000)), '0'), '.') END AS leaves_quantity, CASE o.reason WHEN 0 THEN 'NONE' WHEN 1 THEN 'MALFORMED' WHEN 2 THEN 'VERSION_MISMATCH' WHEN 3 THEN 'UNKNOWN_ACTION' WHEN 4 THEN 'BAD_ENUM' WHEN 5 THEN 'MISSING' WHEN 6 THEN 'BAD_ID' WHEN 7 THEN 'NOT_POSITIVE' WHEN 8 THEN 'TOO_LARGE' WHEN 9 THEN 'NOT_ALLOWED' WHEN 10 THEN 'DUPLICATE_CLIENT_ORDER_ID' WHEN 11 THEN 'UNKNOWN_ORDER' WHEN 12 THEN 'ORDER_TERMINAL' WHEN 13 THEN 'FIELD_MISMATCH' WHEN 14 THEN 'BAD_SEQUENCE' WHEN 30 THEN 'OUT_OF_HOURS' WHEN 31 THEN 'EXPIRED_AT_CLOSE' WHEN 32 THEN 'CANCELED_AT_CLOSE' WHEN 33 THEN 'NOT_LOGGED_ON' WHEN 34 THEN 'END_OF_DAY' WHEN 35 THEN 'CARRIED_OVER' WHEN 50 THEN 'QUEUE_FULL' WHEN 51 THEN 'QUEUE_AGE' WHEN 52 THEN 'THROTTLED' WHEN 53 THEN 'NOT_SENT' WHEN 54 THEN 'IGNORED_AFTER_SEND' WHEN 55 THEN 'IN_DOUBT' WHEN 56 THEN 'OUTCOME_UNKNOWN' WHEN 57 THEN 'CANCELED_IN_QUEUE' WHEN 58 THEN 'REPLACED_IN_QUEUE' WHEN 59 THEN 'RESOLVED_BY_OPERATOR' WHEN 60 THEN 'UPSTREAM_LAGS' WHEN 61 THEN 'MASS_CANCEL' WHEN 62 THEN 'UPSTREAM_GONE' WHEN 63 THEN 'ORDER_IN_DOUBT' WHEN 64 THEN 'CROSSED_INTERNALLY' WHEN 65 THEN 'REPLACED_TO_FILLED' WHEN 66 THEN 'SUPERSEDED' WHEN 80 THEN 'MAX_QUANTITY' WHEN 81 THEN 'MAX_NOTIONAL' WHEN 82 THEN 'PRICE_COLLAR' WHEN 83 THEN 'SYMBOL_NOT_ALLOWED' WHEN 84 THEN 'MAX_OPEN_ORDERS' WHEN 85 THEN 'DUPLICATE_CONTENT' WHEN 86 THEN 'MESSAGE_RATE' WHEN 87 THEN 'KILLED' WHEN 88 THEN 'REPEATED_EXECUTION' WHEN 100 THEN 'VENUE_REJECT' WHEN 101 THEN 'UNKNOWN_SYMBOL' WHEN 102 THEN 'BAD_TICK' WHEN 103 THEN 'BAD_LOT' WHEN 104 THEN 'MARKET_CLOSED' WHEN 105 THEN 'HALTED' WHEN 106 THEN 'POST_ONLY_WOULD_CROSS' WHEN 107 THEN 'NO_LIQUIDITY' WHEN 108 THEN 'SELF_TRADE' WHEN 109 THEN 'TOO_LATE' WHEN 110 THEN 'CONCURRENT_CALL' WHEN 111 THEN 'ORDER_EXPIRED' WHEN 112 THEN 'VENUE_UNSOLICITED' WHEN 150 THEN 'DISK_FULL' WHEN 151 THEN 'JOURNAL_FAILED' END AS reason, o.text, strftime('%Y-%m-%d %H:%M:%S', o.receive_time_ns / 1000000000, 'unixepoch') || printf('.%09d', o.receive_time_ns % 1000000000) AS received, strftime('%Y-%m-%d %H:%M:%S', NULLIF(o.update_time_ns, 0) / 1000000000, 'unixepoch') || printf('.%09d', NULLIF(o.update_time_ns, 0) % 1000000000) AS updated, CASE WHEN o.ord_status = 50 THEN 'MATCHED' WHEN o.ord_status IN (50, 52, 56, 67, 33) THEN 'FAILED' WHEN o.cum_quantity > 0 THEN 'PARTIAL' WHEN o.order_number IN (SELECT order_number FROM sends) THEN 'SUBMITTED' ELSE 'OPEN' END AS simple FROM orders o LEFT JOIN upstreams u ON u.number = o.upstream WHERE o.ord_status <> 0;
CREATE VIEW v_executions AS
SELECT e.sequence, e.order_number, o.client_order_id, o.symbol, e.exec_id, rtrim(rtrim(printf('%s%d.%08d', iif(e.quantity < 0, '-', ''), abs(e.quantity / 100000000), abs(e.quantity % 100000000)), '0'), '.') AS quantity, rtrim(rtrim(printf('%s%d.%08d', iif(e.price < 0, '-', ''), abs(e.price / 100000000), abs(e.price % 100000000)), '0'), '.') AS price, e.latency_ns / 1000 AS latency_us, strftime('%Y-%m-%d %H:%M:%S', e.time_ns / 1000000000, 'unixepoch') || printf('.%09d', e.time_ns % 1000000000) AS time FROM executions e LEFT JOIN new_orders o USING (order_number);
CREATE VIEW v_responses AS
SELECT sequence, order_number, client_order_id, CASE response_type WHEN 1 THEN 'LOGON_ACK' WHEN 2 THEN 'LOGON_REJECT' WHEN 3 THEN 'LOGOUT_ACK' WHEN 4 THEN 'DISCONNECTED' WHEN 5 THEN 'ACK' WHEN 6 THEN 'REJECT' WHEN 7 THEN 'FILL' WHEN 8 THEN 'CANCELED' WHEN 9 THEN 'REPLACED' WHEN 10 THEN 'CANCEL_REJECT' WHEN 11 THEN 'EXPIRED' WHEN 12 THEN 'QUERY_FOUND' WHEN 13 THEN 'QUERY_NOT_FOUND' END AS response_type, latency_ns / 1000 AS latency_us, strftime('%Y-%m-%d %H:%M:%S', time_ns / 1000000000, 'unixepoch') || printf('.%09d', time_ns % 1000000000) AS time, text FROM responses;
CREATE VIEW order_matching AS
SELECT m.sequence, (SELECT order_id_prefix FROM desk) || printf('%012x', m.buy_order_number) AS buy_order_id, (SELECT order_id_prefix FROM desk) || printf('%012x', m.sell_order_number) AS sell_order_id, b.client_order_id AS buy_client_order_id, s.client_order_id AS sell_client_order_id, m.symbol, rtrim(rtrim(printf('%s%d.%08d', iif(m.quantity < 0, '-', ''), abs(m.quantity / 100000000), abs(m.quantity % 100000000)), '0'), '.') AS quantity, rtrim(rtrim(printf('%s%d.%08d', iif(m.price < 0, '-', ''), abs(m.price / 100000000), abs(m.price % 100000000)), '0'), '.') AS price, strftime('%Y-%m-%d %H:%M:%S', m.time_ns / 1000000000, 'unixepoch') || printf('.%09d', m.time_ns % 1000000000) AS time FROM matches m LEFT JOIN new_orders b ON b.order_number = m.buy_order_number LEFT JOIN new_orders s ON s.order_number = m.sell_order_number;
CREATE VIEW v_sessions AS
SELECT sequence, CASE event WHEN 1 THEN 'CONNECTED' WHEN 2 THEN 'LOGON_SENT' WHEN 3 THEN 'LOGGED_ON' WHEN 4 THEN 'LOGON_REJECTED' WHEN 5 THEN 'LOGOUT_SENT' WHEN 6 THEN 'LOGGED_OUT' WHEN 7 THEN 'DISCONNECTED' WHEN 8 THEN 'STARTED' WHEN 9 THEN 'STOPPED' WHEN 10 THEN 'ROLL' WHEN 11 THEN 'KILL' WHEN 12 THEN 'RESUME' WHEN 13 THEN 'CLOCK_STEP' WHEN 14 THEN 'GUARD_STOP' WHEN 15 THEN 'GUARD_RESET' WHEN 16 THEN 'RELOAD' WHEN 17 THEN 'MASS_ACTION' WHEN 18 THEN 'MASS_ACTION_DONE' END AS event, trade_date, strftime('%Y-%m-%d %H:%M:%S', time_ns / 1000000000, 'unixepoch') || printf('.%09d', time_ns % 1000000000) AS time, strftime('%Y-%m-%d %H:%M:%S', open_ns / 1000000000, 'unixepoch') || printf('.%09d', open_ns % 1000000000) AS open, strftime('%Y-%m-%d %H:%M:%S', close_ns / 1000000000, 'unixepoch') || printf('.%09d', close_ns % 1000000000) AS close, text FROM sessions;
PRAGMA user_version = 1;
