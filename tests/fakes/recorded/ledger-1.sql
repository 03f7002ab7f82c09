-- A ledger as version 1 left it: `sqlite3 ledger.sqlite .dump`
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY, hook TEXT NOT NULL, provider TEXT NOT NULL, number TEXT NOT NULL,
  verdict TEXT NOT NULL, reason TEXT NOT NULL, jobs TEXT NOT NULL, at REAL NOT NULL) STRICT;
INSERT INTO "deliveries" VALUES('000000000001','shop','gitea','1','accepted','','000000000002',1700000001.0);
INSERT INTO "deliveries" VALUES('000000000003','shop','gitea','2','accepted','','000000000004',1700000005.0);
INSERT INTO "deliveries" VALUES('000000000005','shop','gitea','3','accepted','','000000000006',1700000009.0);
INSERT INTO "deliveries" VALUES('000000000007','shop','gitea','4','accepted','','000000000008',1700000011.0);
INSERT INTO "deliveries" VALUES('000000000009','shop','gitea','5','accepted','','00000000000a',1700000014.0);
CREATE TABLE entries (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, delivery TEXT NOT NULL, hook TEXT NOT NULL,
  app TEXT NOT NULL, kind TEXT NOT NULL, ref TEXT NOT NULL, "commit" TEXT NOT NULL, state TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, arrived REAL NOT NULL, started REAL NOT NULL DEFAULT 0,
  finished REAL NOT NULL DEFAULT 0, digest TEXT NOT NULL DEFAULT '', address TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "entries" VALUES(1,'000000000002','000000000001','shop','shop','build','refs/heads/main','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','succeeded',1,1700000000.0,1700000002.0,1700000003.0,'sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd','http://10.0.0.1:30080/','','');
INSERT INTO "entries" VALUES(2,'000000000004','000000000003','shop','shop','build','refs/heads/main','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','failed',1,1700000004.0,1700000006.0,1700000007.0,'','','AssembleFailed: the assemble script ended with 3','');
INSERT INTO "entries" VALUES(3,'000000000006','000000000005','shop','shop','build','refs/heads/main','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','superseded',0,1700000008.0,0.0,1700000010.0,'','','superseded by 000000000008','');
INSERT INTO "entries" VALUES(4,'000000000008','000000000007','shop','shop','build','refs/heads/main','bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','running',1,1700000010.0,1700000012.0,0.0,'','','','boot/1/2');
INSERT INTO "entries" VALUES(5,'00000000000a','000000000009','shop','shop','build','refs/heads/main','cccccccccccccccccccccccccccccccccccccccc','queued',0,1700000013.0,0.0,0.0,'','','','');
CREATE TABLE probe (at REAL NOT NULL) STRICT;
INSERT INTO "probe" VALUES(0.0);
CREATE UNIQUE INDEX one_of_each_number ON deliveries (hook, provider, number) WHERE number <> '';
CREATE UNIQUE INDEX one_running ON entries (app, ref) WHERE state = 'running';
CREATE UNIQUE INDEX one_waiting ON entries (app, ref) WHERE state = 'queued';
CREATE INDEX by_lane ON entries (app, ref, sequence);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('entries',5);
COMMIT;
