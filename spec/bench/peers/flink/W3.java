// W3.java: W3 of spec/bench/windows.lua in Flink: one slot, state on the heap, no checkpoints; JSON by Jackson's streaming
// parser. Arguments: input, output (a folder).
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.serialization.SimpleStringEncoder;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.sink.FileSink;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.reader.TextLineInputFormat;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

public class W3 {
    public static class Payment {
        public String user;
        public double amount;
        public long ts;
    }

    public static class Sum {
        public long n;
        public double total;
    }

    public static class Parse extends RichMapFunction<String, Payment> {
        private transient JsonFactory factory;

        @Override
        public void open(Configuration c) {
            factory = new JsonFactory();
        }

        @Override
        public Payment map(String line) throws Exception {
            Payment p = new Payment();
            try (JsonParser json = factory.createParser(line)) {
                json.nextToken();
                while (json.nextToken() == JsonToken.FIELD_NAME) {
                    String name = json.getCurrentName();
                    json.nextToken();
                    switch (name) {
                        case "user": p.user = json.getText(); break;
                        case "amount": p.amount = json.getDoubleValue(); break;
                        case "ts": p.ts = json.getLongValue(); break;
                        default: json.skipChildren();
                    }
                }
            }
            return p;
        }
    }

    public static class Add implements AggregateFunction<Payment, Sum, Sum> {
        public Sum createAccumulator() { return new Sum(); }
        public Sum add(Payment p, Sum s) {
            s.n++;
            s.total += p.amount;
            return s;
        }
        public Sum getResult(Sum s) { return s; }
        public Sum merge(Sum a, Sum b) {
            a.n += b.n;
            a.total += b.total;
            return a;
        }
    }

    public static class Tell extends ProcessWindowFunction<Sum, String, String, TimeWindow> {
        @Override
        public void process(String user, Context c, Iterable<Sum> sums, Collector<String> out) {
            Sum s = sums.iterator().next();
            if (s.n > 5)
                out.collect(String.format("{\"key\":\"%s\",\"start\":%d,\"n\":%d,\"total\":%.2f}",
                        user, c.window().getStart() / 1000, s.n, s.total));
        }
    }

    public static void main(String[] args) throws Exception {
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(1);
        env.getConfig().enableObjectReuse();
        FileSource<String> source =
                FileSource.forRecordStreamFormat(new TextLineInputFormat(), new Path(args[0])).build();
        env.fromSource(source, WatermarkStrategy.noWatermarks(), "in")
                .map(new Parse())
                .assignTimestampsAndWatermarks(
                        WatermarkStrategy.<Payment>forBoundedOutOfOrderness(Duration.ofSeconds(5))
                                .withTimestampAssigner((p, t) -> p.ts))
                .keyBy(p -> p.user)
                .window(TumblingEventTimeWindows.of(Duration.ofSeconds(60)))
                .aggregate(new Add(), new Tell())
                .sinkTo(FileSink.forRowFormat(new Path(args[1]), new SimpleStringEncoder<String>()).build());
        env.execute();
    }
}
