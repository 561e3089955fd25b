import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.KStream;

/* Route BROKERS GUARANTEE GROUP A B COUNT THREADS FOLDER: what spec/bench/kafka.lua has a router do, as bytes: no JSON library is
 * asked for more than whether `"os":"ios"` is there, which is less than the router does. Ends when COUNT events have been routed and
 * committed. */
public class Route {
    static final byte[] NEEDLE = "\"os\":\"ios\"".getBytes();

    static boolean has(byte[] text) {
        outer:
        for (int i = 0; i + NEEDLE.length <= text.length; i++) {
            for (int j = 0; j < NEEDLE.length; j++) if (text[i + j] != NEEDLE[j]) continue outer;
            return true;
        }
        return false;
    }

    public static void main(String[] a) throws Exception {
        long count = Long.parseLong(a[5]);
        AtomicLong seen = new AtomicLong();
        CountDownLatch over = new CountDownLatch(1);
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, a[2]);
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, a[0]);
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, a[1]);
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, a[6]);
        p.put(StreamsConfig.STATE_DIR_CONFIG, a[7]);
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, "100");
        p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        p.put(StreamsConfig.producerPrefix("acks"), "all");
        p.put(StreamsConfig.producerPrefix("linger.ms"), "20");
        p.put(StreamsConfig.producerPrefix("batch.size"), "262144");
        p.put(StreamsConfig.producerPrefix("buffer.memory"), "67108864");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        p.put(StreamsConfig.consumerPrefix("max.poll.records"), "10000");
        p.put(StreamsConfig.consumerPrefix("fetch.max.bytes"), "67108864");
        p.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), "16777216");
        StreamsBuilder b = new StreamsBuilder();
        KStream<byte[], byte[]> in = b.stream("payments");
        in.peek((k, v) -> { if (seen.incrementAndGet() == count) over.countDown(); })
            .split()
            .branch((k, v) -> has(v), Branched.withConsumer(s -> s.to(a[3])))
            .defaultBranch(Branched.withConsumer(s -> s.to(a[4])));
        KafkaStreams streams = new KafkaStreams(b.build(), p);
        streams.start();
        over.await();
        streams.close(); /* which commits */
        System.exit(0);
    }
}
